"""Identifiers fall into the words a person would search for."""

import os
from itertools import accumulate

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlx_mixer.documents.words import identifier_words, identifier_words_of_parts, path_words
from mlx_mixer.word_cutting import split_identifier, words_of


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


WORDS = st.text(st.sampled_from("abXYZ09_é.- 語"), max_size=40)


@given(st.one_of(WORDS, st.text()))
@settings(max_examples=500)
def test_words_of_the_index_are_those_of_every_word_by_itself(text: str) -> None:
    pieces = set()
    for word in words_of(text):
        parts = split_identifier(word)
        if len(parts) > 1 and len(word) > 2 and not word[1:].islower() and not word.isupper():
            pieces |= {part.lower() for part in parts}
    found = identifier_words(text)
    assert [word for word in found.split() if word.isascii()][: len(pieces)] == sorted(pieces)
    assert pieces or not text.isascii() or not found


@given(st.lists(st.one_of(WORDS, st.text(st.sampled_from("abXY09_ é—")), st.text()).filter(bool), min_size=1))
@example(["fooBar—", "bazQux"])
@settings(max_examples=500)
def test_words_of_parts_are_those_of_each_part_by_itself(parts: list[str]) -> None:
    ends = list(accumulate(map(len, parts)))
    assert identifier_words_of_parts("".join(parts), ends) == [identifier_words(part) for part in parts]


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
