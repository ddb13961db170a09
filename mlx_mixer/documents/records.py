"""What indexing hands to the store: a file, the document in it, and that document's chunks."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from mlx_mixer.documents.structure import PageKind
from mlx_mixer.documents.words import PathWords


class ChunkData(NamedTuple):
    """One row of `chunks` (see schema.py); a tuple, as there are very many."""

    start: int
    line: int
    page: int | None
    heading: str
    body: str
    identifiers: str


class Block(NamedTuple):
    """Some chunks of a document that follow each other, compressed (see packing.py).

    Attributes:
        first: Number of the first of them in the document, counted from 0.
        headings: Their headings.
        texts: Their bodies and identifiers.
    """

    first: int
    headings: bytes
    texts: bytes


class ContentData(NamedTuple):
    """A document that was read and cut, ready to be stored; `blocks` hold the texts of its chunks once more, packed."""

    hash: bytes
    reader: str
    reader_version: int
    title: str
    encoding: str
    characters: int
    note: str
    page_kind: PageKind
    chunks: Sequence[ChunkData]
    blocks: Sequence[Block]


class FileData(NamedTuple):
    """One row of `files`. `content` is a row's id, or a document to store first; None for a file left out."""

    path: bytes
    words: PathWords
    size: int = 0
    mtime_ns: int = 0
    inode: int = 0
    modified: int = 0
    reader: str | None = None
    reader_version: int | None = None
    state: Literal["indexed", "skipped", "failed"] = "indexed"
    reason: str | None = None
    content: ContentData | int | None = None
