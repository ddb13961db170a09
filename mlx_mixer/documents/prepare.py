"""From a document to everything the index keeps of it: chunks, their headings and words, and their texts packed."""

from collections.abc import Iterable

from mlx_mixer.documents.chunk import chunk_document
from mlx_mixer.documents.packing import pack
from mlx_mixer.documents.readers import Reader, read_document
from mlx_mixer.documents.records import ChunkData, ContentData
from mlx_mixer.documents.structure import ReadDocument, shortened
from mlx_mixer.documents.unreadable import UnreadableError
from mlx_mixer.documents.words import identifier_words_of_parts

HEADING_SEPARATOR = " › "
_MAX_HEADING = 200


def prepare_content(document: ReadDocument, digest: bytes, reader: Reader, encoding: str) -> ContentData:
    """Cut a document and compute everything the index needs of it."""
    text = document.text
    cuts = chunk_document(document)
    identifiers = identifier_words_of_parts(text, [cut.end for cut in cuts])
    headings = {path: _heading(document.title, path) for path in {cut.heading for cut in cuts}}
    chunks = [
        ChunkData(start, line, page, headings[path], text[start:end], words)
        for (start, end, line, path, page), words in zip(cuts, identifiers, strict=True)
    ]
    return ContentData(
        digest,
        reader.name,
        reader.version,
        document.title,
        encoding,
        len(text),
        document.note,
        document.page_kind,
        tuple(chunks),
        tuple(pack(chunks)),
    )


def prepare_text(data: bytes, digest: bytes, reader: Reader) -> ContentData | str:
    """Read and prepare a file by a reader that reads text; return the reason where there is nothing to index."""
    try:
        document, encoding = read_document(data, reader)
    except UnreadableError as error:
        return str(error)
    return prepare_content(document, digest, reader, encoding)


def embedding_text(heading: str, body: str) -> str:
    """What of a chunk is embedded: the headings it lies under, then its text."""
    return f"{heading}\n{body.strip()}" if heading else body.strip()


def _heading(title: str, path: Iterable[str]) -> str:
    parts = [part for part in path if part]
    if title and title not in parts[:1]:
        parts.insert(0, title)
    return shortened(HEADING_SEPARATOR.join(parts), _MAX_HEADING)
