"""Bytes become documents by the kind of file, with line ends and controls the index can live with."""

import pytest

from mlx_mixer.documents.readers import read_document, reader_for
from mlx_mixer.documents.unreadable import UnreadableError


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"/a/guide.md", "markdown"),
        (b"/a/GUIDE.MARKDOWN", "markdown"),
        (b"/a/x.py", "python"),
        (b"/a/x.pyi", "python"),
        (b"/a/x.rs", "source-rust"),
        (b"/a/x.R", "source-r"),
        (b"/a/x.rst", "rst"),
        (b"/a/x.tex", "latex"),
        (b"/a/x.PDF", "pdf"),
        (b"/a/x.htm", "html"),
        (b"/a/x.csv", "delimited"),
        (b"/a/x.unknown", "text"),
        (b"/a/Makefile", "text"),
        (b"/a.md/notes", "text"),
        (b"/a/caf\xe9.md", "markdown"),
    ],
)
def test_the_suffix_chooses_the_reader(path: bytes, name: str) -> None:
    assert reader_for(path).name == name


def test_line_ends_become_one_kind() -> None:
    document, encoding = read_document(b"one\r\ntwo\rthree\n", reader_for(b"a.txt"))
    assert (document.text, encoding) == ("one\ntwo\nthree\n", "utf-8")


def test_characters_the_index_uses_itself_are_replaced_one_for_one() -> None:
    document, _ = read_document(b"a long enough text: \x02b\x03 " + b"and more " * 30, reader_for(b"a.txt"))
    assert document.text.startswith("a long enough text: \ufffdb\ufffd and")


def test_structure_is_read_after_line_ends_are_mended() -> None:
    document, _ = read_document(b"# A\r\n\r\ntext\r\n## B\r\n", reader_for(b"a.md"))
    assert [section.heading for section in document.sections] == [("A",), ("A", "B")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b" \n\t\r\n", "empty"),
        (b"\x00\x01\x02\x03" * 50, "binary"),
        (b"notes\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n", "private key"),
    ],
)
def test_what_is_no_document_has_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        read_document(data, reader_for(b"a.txt"))
