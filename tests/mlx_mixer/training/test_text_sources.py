"""Texts from every kind of place, and what is said where there is none."""

import io
import json
import sys
from pathlib import Path

import docx
import pytest

from mlx_mixer.documents.library import Library
from mlx_mixer.errors import LibraryError, MixerError
from mlx_mixer.training.data import read_pairs
from mlx_mixer.training.text_sources import read_texts


def write_tree(folder: Path) -> Path:
    folder.mkdir()
    (folder / "a.py").write_text('"""A module."""\n')
    document = docx.Document()
    document.add_paragraph("From a word processor.")
    document.save(str(folder / "b.docx"))
    (folder / "c.html").write_text("<h1>Title</h1><p>From the web.</p><script>var hidden</script>")
    (folder / "d.jsonl").write_text(json.dumps({"text": "From a record."}) + "\n")
    (folder / "e.md").write_text("# Notes\n\nFrom a note.\n")
    (folder / ".hidden.txt").write_text("not this")
    (folder / "ignored.txt").write_text("not this")
    (folder / ".gitignore").write_text("ignored.txt\n")
    (folder / "f.docx").write_bytes(b"not a document")
    (folder / "g.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    return folder


def test_a_folder_gives_the_texts_of_every_format_and_says_what_it_could_not_read(tmp_path: Path) -> None:
    told: list[str] = []
    texts = read_texts([write_tree(tmp_path / "docs")], told.append)
    whole = "\n".join(texts)
    assert len(texts) == 5
    for part in ("A module.", "From a word processor.", "From the web.", "From a record.", "From a note."):
        assert part in whole
    assert "hidden" not in whole
    assert "not this" not in whole
    assert len(told) == 1
    assert told[0].startswith("1 of the files could not be read")
    assert "f.docx" in told[0]


def test_a_file_that_was_named_must_be_readable(tmp_path: Path) -> None:
    (tmp_path / "x.docx").write_bytes(b"not a document")
    (tmp_path / "x.bin").write_bytes(bytes(range(256)) * 9)
    for name in ("x.docx", "x.bin"):
        with pytest.raises(MixerError, match=f"{name} cannot be read: ") as error:
            read_texts([tmp_path / name])
        assert "\n" not in str(error.value)
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(MixerError, match=r"empty\.txt cannot be read: empty"):
        read_texts([tmp_path / "empty.txt"])


def test_links_and_unusual_names_are_read_where_they_are_named(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("no suffix")
    (tmp_path / "link.txt").symlink_to(tmp_path / "notes")
    assert read_texts([tmp_path / "notes", tmp_path / "link.txt"]) == ["no suffix", "no suffix"]


def test_a_library_gives_its_passages_with_their_headings(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "bread.md").write_text("# Bread\n\n" + "Flour and water rest overnight. " * 60 + "\n\n## Oven\n\nHot.\n")
    (docs / "gone.txt").write_text("This file will go.")
    with Library(tmp_path / "library.sqlite3") as library:
        library.add([docs])
        (docs / "gone.txt").unlink()
        library.refresh()
        chunks = library.status().chunks
    texts = read_texts([tmp_path / "library.sqlite3"])
    assert len(texts) == chunks > 1
    assert all(text.startswith("Bread") for text in texts)
    assert not any("will go" in text for text in texts)


def test_a_damaged_library_is_one_clear_line(tmp_path: Path) -> None:
    with Library(tmp_path / "library.sqlite3") as library:
        assert library.status().documents == 0
    path = tmp_path / "library.sqlite3"
    with pytest.raises(MixerError, match="no text found"):
        read_texts([path])
    data = path.read_bytes()
    path.write_bytes(data[:100] + bytes(len(data) - 100))
    with pytest.raises(LibraryError, match="library"):
        read_texts([path])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('{"text": "one"}\n\n{"passage": "two"}\n', ["one", "two"]),
        ("plain text\nof two lines\n", ["plain text\nof two lines\n"]),
        ("12\n", ["12\n"]),
    ],
    ids=["records", "text", "number"],
)
def test_standard_input_is_records_or_one_text(
    given: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
    assert read_texts([Path("-")]) == expected


def test_pairs_come_from_standard_input_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "a", "query": "b"}\n')))
    assert [pair.queries for pair in read_pairs([Path("-")])] == [("b",)]


def test_records_without_a_query_are_counted_where_none_has_one(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n{"text": "b", "query": " "}\n')
    with pytest.raises(MixerError, match="none of the 2 records has 'passage' or 'text' and a query"):
        read_pairs([tmp_path / "x.jsonl"])
