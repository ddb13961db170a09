"""Identifiers fall into the words a person would search for."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_mixer.documents.words import identifier_words, path_words, split_identifier


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("getUserName", ["get", "User", "Name"]),
        ("HTTPServer", ["HTTP", "Server"]),
        ("parseHTML5Doc", ["parse", "HTML5", "Doc"]),
        ("plain", ["plain"]),
        ("ALLCAPS", ["ALLCAPS"]),
        ("Title", ["Title"]),
        ("größeÄndern", ["größeÄndern"]),  # letters beyond ASCII: left whole rather than cut wrongly
    ],
)
def test_camel_case_is_split(word: str, parts: list[str]) -> None:
    assert split_identifier(word) == parts


def test_only_camel_case_adds_words_to_the_index() -> None:
    assert identifier_words("plain snake_case kebab-case Title NASA getUserName") == "get name user"
    assert identifier_words("class HTTPServer: my_xmlParser()") == "http parser server xml"


@given(st.text())
def test_splitting_loses_no_letter(text: str) -> None:
    assert "".join(split_identifier(text)) == text


def test_a_file_name_is_searched_by_the_words_of_its_path_below_the_root() -> None:
    assert path_words(b"/home/me/notes/2024/my tax/taxReturn.md", b"/home/me/notes") == (
        "2024/my tax",
        "taxReturn.md return tax",
        "md",
    )
    assert path_words(b"/home/me/todo.md", b"/home/me/todo.md") == ("", "todo.md", "md")
    assert path_words(os.fsencode("/r/caf\udce9.txt"), b"/r") == ("", "caf?.txt", "txt")
