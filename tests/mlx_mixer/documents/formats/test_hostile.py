"""Hostile, damaged and odd documents cost only themselves, each with a reason a person can read.

These run in the real child process, with less memory and sometimes less time than in earnest.
"""

import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlx_mixer.documents.chunk import chunk_document
from mlx_mixer.documents.formats.limits import Limits
from mlx_mixer.documents.reader_process import ProcessLimits, ReaderProcess
from mlx_mixer.documents.readers import Reader, reader_for
from mlx_mixer.documents.structure import ReadDocument
from mlx_mixer.documents.unreadable import UnreadableError
from tests.mlx_mixer.documents.formats import hostile, written
from tests.mlx_mixer.documents.formats.reading import check, read


@pytest.fixture(scope="module")
def readers() -> Iterator[ReaderProcess]:
    with ReaderProcess(ProcessLimits(seconds=60, memory_bytes=400 << 20)) as process:
        yield process


@pytest.fixture(scope="module")
def hurried() -> Iterator[ReaderProcess]:
    """For files that take for ever."""
    with ReaderProcess(ProcessLimits(seconds=2, memory_bytes=400 << 20)) as process:
        yield process


def outcome(readers: ReaderProcess, name: str, data: bytes) -> ReadDocument | str:
    """The document or the reason; a healthy file after it is always read."""
    document, reason = document_or_reason(readers, data, reader_for(name.encode()))
    assert reason.isprintable()
    assert len(reason) < 300
    healthy, _ = readers.read_file_content(b"<p>healthy", reader_for(b"a.html"))
    assert healthy.text.strip() == "healthy"
    return document or reason


@pytest.mark.parametrize(
    "build",
    [hostile.pdf_flate_bomb, hostile.pdf_form_bomb, hostile.pdf_with_page_loop],
    ids=["flate bomb", "recursive forms", "page loop"],
)
def test_a_hostile_pdf_costs_only_itself(hurried: ReaderProcess, build: Callable[[], bytes]) -> None:
    data = build()
    assert len(data) < 100_000
    assert isinstance(outcome(hurried, "a.pdf", data), str)


def test_a_pdf_of_a_hundred_thousand_pages_is_read_in_part() -> None:
    document = read("a.pdf", hostile.pdf_of_many_pages(100_000), Limits(pages=20))
    assert document.note == "partial: only the first 20 of 100,000 pages"
    assert len(document.pages) == 20


@pytest.mark.parametrize(
    ("name", "data"), hostile.zip_bombs(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_zip_bomb_is_called_one(readers: ReaderProcess, name: str, data: bytes) -> None:
    assert len(data) < 20_000
    result = outcome(readers, name, data)
    assert isinstance(result, str)
    assert "zip bomb" in result


@pytest.mark.parametrize("xml", [hostile.LAUGHS, hostile.OUTSIDE], ids=["laughs", "outside"])
def test_entities_are_refused(readers: ReaderProcess, xml: str) -> None:
    for name, member in (("a.docx", "word/document.xml"), ("a.odt", "content.xml"), ("a.pptx", "ppt/presentation.xml")):
        result = outcome(readers, name, written.zipped({member: xml}))
        assert isinstance(result, str)
        assert "declares XML entities" in result


def test_a_zip_that_holds_too_much_keeps_what_fits() -> None:
    rng = random.Random(1)
    paragraphs = "".join(f"<p><t>{rng.getrandbits(400):x}</t></p>" for _ in range(3000))
    document = read("a.docx", written.zipped({"word/document.xml": f"<d>{paragraphs}</d>"}), Limits(part_bytes=100_000))
    assert document.note.startswith("partial: the rest unpacks to more than 0 MB")
    assert 50_000 < len(document.text) < 100_000


def test_deep_nesting_is_only_deep(readers: ReaderProcess) -> None:
    result = outcome(readers, "a.html", b"<b><i>" * 4_000 + b"deep words" + b"<div><ul><li>" * 2_000)
    assert isinstance(result, ReadDocument)
    assert "deep words" in result.text
    xml = "<p>" * 20_000 + "<t>deep words</t>" + "</p>" * 20_000
    result = outcome(readers, "a.docx", written.zipped({"word/document.xml": xml}))
    assert isinstance(result, ReadDocument)
    assert result.text.strip() == "deep words"
    assert isinstance(outcome(readers, "a.json", b"[" * 100_000), ReadDocument)
    assert isinstance(outcome(readers, "a.rtf", b"{\\rtf1 " + b"{" * 100_000 + b"words"), ReadDocument)


def test_nesting_that_takes_the_parser_for_ever_is_stopped(hurried: ReaderProcess) -> None:
    assert outcome(hurried, "a.html", b"<div>" * 2_000_000 + b"x") == "took longer than 2 s to read"


def test_one_line_of_ten_megabytes_is_read_in_part(readers: ReaderProcess) -> None:
    for name, data in (("a.json", b'{"a": "' + b"words " * 1_700_000), ("a.csv", b"a,b," * 2_500_000)):
        result = outcome(readers, name, data)
        assert isinstance(result, ReadDocument)
        assert result.note.startswith("partial: only the first 2,000,000 of 10,")


def test_memory_beyond_the_limit_is_the_reason(readers: ReaderProcess) -> None:
    # One character beyond the first plane makes every other one in a string take four bytes.
    cell = '{"cell_type": "markdown", "source": "' + "words " * 3_300_000 + '😀"}'
    notebook = f'{{"cells": [{cell}]}}'.encode()
    assert outcome(readers, "a.ipynb", notebook) == "needs more than 0.39 GB of memory to read"


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_encoding_and_line_end_gives_the_same_text(encoding: str, line_end: str) -> None:
    rows = ["name,boat and harbour", "Zoë Müller,the blue skua", "Ada,another boat"]
    for name in ("a.csv", "a.txt", "a.md", "a.c", "a.rst"):
        document = read(name, line_end.join(rows).encode(encoding))
        assert document.text.rstrip("\n").split("\n") == rows


def test_lone_surrogates_and_controls_do_not_come_through() -> None:
    source = json.dumps({"cells": [{"cell_type": "markdown", "source": "a \ud800 b \x00 c \x02\x03"}]})
    assert read("a.ipynb", source.encode()).text == "a \ufffd b \ufffd c \ufffd\ufffd\n\n"
    assert read("a.html", b"<p>a&#xD800;b&#0;c&#2;").text.strip() == "a\ufffdb\ufffdc\ufffd"
    assert read("a.rtf", rb"{\rtf1 a\u-10240?b}").text == "a\ufffdb\n\n"


WORD_XML = "<d><p><t>some words</t></p><tbl><tr><tc><p><t>x</t></p></tc></tr></tbl></d>"
PAGE = b"<html><head><title>T</title></head><body><h1>A</h1><table><tr><td>x<td>y</table><pre>z</pre>"
NOTEBOOK = {"metadata": {}, "cells": [{"cell_type": "code", "source": ["a"], "outputs": []}]}
SLIDES = {
    "ppt/presentation.xml": "<p><sldId id='1' r:id='r1' xmlns:r='r'/></p>",
    "ppt/_rels/presentation.xml.rels": "<R><Relationship Id='r1' Target='slides/s.xml' Type='x'/></R>",
    "ppt/slides/s.xml": "<s><sp><ph type='title'/><p><t>Title</t></p></sp><p><t>text</t></p></s>",
}
SEEDS: dict[str, Callable[[], bytes]] = {
    "a.pdf": lambda: written.pdf(["one page of words", "another page"], chapters=["A", "B"]),
    "a.docx": lambda: written.zipped({"word/document.xml": WORD_XML}),
    "a.odt": written.open_text,
    "a.ods": written.open_sheet,
    "a.xlsx": written.excel,
    "a.pptx": lambda: written.zipped(SLIDES),
    "a.epub": lambda: written.book({"a.xhtml": "<h1>One</h1><p>chapter"}),
    "a.html": lambda: PAGE * 3,
    "a.ipynb": lambda: json.dumps(NOTEBOOK).encode(),
    "a.eml": lambda: bytes(written.message(a__html=b"<p>x", b__eml=bytes(written.message()), c__docx=b"PK\x03\x04")),
    "a.mbox": lambda: b"From a\n" + bytes(written.message()) + b"\nFrom b\n" + bytes(written.message()),
    "a.csv": lambda: b"a,b\n1,2\n" * 5,
    "a.json": lambda: b'{"a": {"b": [1, 2, {"c": "d"}]}}' * 3,
    "a.rtf": lambda: rb"{\rtf1\ansicpg1252{\fonttbl x}\uc1 a\u8364?\'e9\par{\*\x y}b}",
}


def mutations(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Cut, flip, repeat, blank and mix bytes, the same way every time."""
    rng = random.Random(seed)
    for _ in range(count):
        mutated = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 5, 20))):
            place = rng.randrange(len(mutated) or 1)
            kind = rng.randrange(6)
            if kind == 0:
                del mutated[place:]
            elif kind == 1:
                mutated[place : place + 1] = bytes([rng.randrange(256)])
            elif kind == 2:
                mutated[place:place] = mutated[place : place + rng.randrange(1, 60)] * rng.randrange(1, 5)
            elif kind == 3:
                mutated[place : place + rng.randrange(1, 8)] = b'\x00\xff\x80<&{["\\'[: rng.randrange(1, 9)]
            elif kind == 4:
                del mutated[place : place + rng.randrange(1, 30)]
            else:
                mutated[place:place] = rng.randbytes(rng.randrange(1, 8))
        yield bytes(mutated)


@pytest.mark.parametrize("name", SEEDS)
def test_damage_of_any_kind_ends_in_a_document_or_a_reason(readers: ReaderProcess, name: str) -> None:
    reader, good = reader_for(name.encode()), SEEDS[name]()
    assert isinstance(outcome(readers, name, good), ReadDocument)
    for data in [b"", b"\x00", b"garbage", bytes(1000), *mutations(good, 100, seed=7), *damaged_inside(name, good)]:
        document, reason = document_or_reason(readers, data, reader)
        if document is None:
            assert reason.isprintable()
            assert 0 < len(reason) < 300
            assert "object" not in reason  # no message of Python's own
        else:
            check(document)
            assert chunk_document(document)


MAIN_PARTS = {
    "a.docx": "word/document.xml",
    "a.odt": "content.xml",
    "a.ods": "content.xml",
    "a.xlsx": "xl/worksheets/sheet1.xml",
    "a.pptx": "ppt/slides/s.xml",
    "a.epub": "OEBPS/text/a.xhtml",
}


def damaged_inside(name: str, data: bytes) -> Iterator[bytes]:
    """A healthy archive whose main part is damaged: that is how damage reaches the parsers of XML."""
    if name not in MAIN_PARTS:
        return
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    for mutated in mutations(members[MAIN_PARTS[name]], 60, seed=8):
        yield written.zipped({**members, MAIN_PARTS[name]: mutated})


def document_or_reason(readers: ReaderProcess, data: bytes, reader: Reader) -> tuple[ReadDocument | None, str]:
    try:
        return readers.read_file_content(data, reader)[0], ""
    except UnreadableError as error:
        return None, str(error)


def test_a_mailbox_full_of_nested_mailboxes_ends(readers: ReaderProcess, tmp_path: Path) -> None:
    inner = b"From x\n" + bytes(written.message("deepest"))
    for _ in range(8):
        inner = b"From x\n" + bytes(written.message("box", a__mbox=inner, b__eml=bytes(written.message("twin"))))
    result = outcome(readers, "a.mbox", inner)
    assert isinstance(result, ReadDocument)
    assert "deepest" not in result.text
