"""Read a document as the child process does, and check what must hold for every one of them."""

from mlx_mixer.documents.chunk import Chunk, chunk_document
from mlx_mixer.documents.formats.dispatch import read_content
from mlx_mixer.documents.formats.limits import Limits
from mlx_mixer.documents.readers import reader_for
from mlx_mixer.documents.structure import ReadDocument
from mlx_mixer.documents.wire import pack_document, unpack_reply


def read(name: str, data: bytes, limits: Limits | None = None) -> ReadDocument:
    """Read a file by the reader for its name, check it, and return it."""
    document, encoding = read_content(data, reader_for(name.encode()), limits)
    check(document)
    assert unpack_reply(pack_document(document, encoding)) == (document, encoding)
    return document


def check(document: ReadDocument) -> None:
    """Offsets, lines and pages of every chunk are what counting gives."""
    chunks = chunk_document(document)
    assert "".join(document.text[chunk.start : chunk.end] for chunk in chunks) == document.text
    for chunk in chunks:
        assert chunk.line == document.text.count("\n", 0, chunk.start) + 1
        assert chunk.page == page_at(document, chunk.start)
        if document.page_kind != "cell":
            assert page_at(document, chunk.end - 1) == chunk.page


def page_at(document: ReadDocument, offset: int) -> int | None:
    """The page an offset lies on, by counting."""
    return sum(start <= offset for start in document.pages) or None


def part_of(document: ReadDocument, words: str) -> Chunk:
    """The chunk that holds these words."""
    start = document.text.index(words)
    return next(chunk for chunk in chunk_document(document) if chunk.start <= start < chunk.end)


def headings(document: ReadDocument) -> list[tuple[str, ...]]:
    """The heading of every section."""
    return [section.heading for section in document.sections]
