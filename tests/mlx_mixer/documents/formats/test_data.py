"""Notebooks, tables, JSON and rich text."""

import json

import pytest

from mlx_mixer.documents.formats.limits import Limits
from mlx_mixer.documents.unreadable import UnreadableError
from tests.mlx_mixer.documents.formats.reading import headings, part_of, read

NOTEBOOK = {
    "nbformat": 4,
    "metadata": {"language_info": {"name": "python"}},
    "cells": [
        {"cell_type": "markdown", "source": ["# Otters\n", "Counted."]},
        {"cell_type": "code", "source": "", "outputs": []},
        {
            "cell_type": "code",
            "source": "print('```')",
            "outputs": [
                {"output_type": "stream", "text": ["hi\n"]},
                {"output_type": "execute_result", "data": {"text/plain": "17", "image/png": "iVBOR"}},
                {"output_type": "error", "ename": "KeyError", "evalue": "'seal'", "traceback": ["x"]},
            ],
        },
        {"cell_type": "markdown", "source": "## By year\nmore"},
    ],
}


def test_a_notebook_reads_like_markdown_with_a_page_for_each_cell() -> None:
    document = read("a.ipynb", json.dumps(NOTEBOOK).encode())
    assert document.text == (
        "# Otters\nCounted.\n\n````python\nprint('```')\n````\n\n```\nhi\n17\nKeyError: 'seal'\n```\n\n"
        "## By year\nmore\n\n"
    )
    assert (document.title, document.page_kind) == ("Otters", "cell")
    assert headings(document) == [("Otters",), ("Otters", "By year")]
    assert [document.text[start:].split("\n")[0] for start in document.pages] == [
        "# Otters", "````python", "````python", "## By year",
    ]  # fmt: skip


def test_small_cells_share_a_passage_that_has_the_first_ones_number() -> None:
    document = read("a.ipynb", json.dumps(NOTEBOOK).encode())
    assert part_of(document, "print").page == 1
    assert part_of(document, "By year").page == 1


def test_an_old_notebook_is_read_too() -> None:
    old = {"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "input": ["a = 1"], "language": "python"}]}]}
    assert "a = 1" in read("a.ipynb", json.dumps(old).encode()).text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"cells": [', "damaged notebook: it is not valid JSON"),
        (b"[" * 100_000, "damaged notebook: it is not valid JSON"),
        (b"[1, 2]", "damaged notebook: what is in it makes no sense"),
        (b'{"cells": 3}', "damaged notebook: what is in it makes no sense"),
        (b"{}", "no text in it"),
    ],
)
def test_what_is_no_notebook_has_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        read("a.ipynb", data)


def test_every_row_of_a_table_stands_under_its_header() -> None:
    table = "Name;Boat\n" + "".join(f"Ada {number};Skua\n" for number in range(500))
    document = read("a.csv", table.encode())
    assert document.text.rstrip("\n") == table.rstrip("\n")
    late = part_of(document, "Ada 499;")
    assert late.heading == ("Name, Boat",)
    assert late.line > 400


def test_numbers_are_no_header() -> None:
    assert headings(read("a.csv", b"1,2\n3,4\n")) == [()]
    assert headings(read("a.tsv", b"only\none column\n")) == [()]


def test_a_long_table_is_cut_at_a_line_and_says_so() -> None:
    document = read("a.csv", b"name,value of it\n" * 20, Limits(data_characters=100))
    assert document.note == "partial: only the first 85 of 340 characters"
    assert document.text.endswith("value of it\n\n")


def test_json_in_one_line_is_set_in_lines_under_its_keys() -> None:
    data = {"boats": {"skua": {"crew": ["Ada", "Grace"] * 40}, "tern": "x" * 400}, "otters": [1, 2]}
    document = read("a.json", json.dumps(data).encode())
    assert json.loads(document.text) == data
    assert ("boats", "skua") in headings(document)
    assert part_of(document, '"otters"').heading in (("otters",), ())


def test_json_in_lines_stays_as_it_is() -> None:
    text = json.dumps({"a": {"b": 1}}, indent=4)
    assert read("a.json", text.encode()).text.strip() == text


def test_what_is_not_quite_json_is_text() -> None:
    assert read("a.json", b'{"a": {\n  // a comment\n  "b": 1,\n}}').text.startswith('{"a": {\n  // a comment')


def test_rich_text_is_read_without_its_fonts() -> None:
    text = rb"{\rtf1\ansi\ansicpg1252{\fonttbl\f0 Arial;}{\*\generator x}\f0 Caf\'e9 "
    text += rb"{\b bold} \u8364?\u-10179?\u-8704?\par "
    document = read("a.rtf", text + b"second\\line third\\par}")
    assert document.text == "Café bold €😀\n\nsecond\nthird\n\n"


def test_what_is_not_rich_text_is_damaged() -> None:
    with pytest.raises(UnreadableError, match="not rich text"):
        read("a.rtf", b"plain words")
