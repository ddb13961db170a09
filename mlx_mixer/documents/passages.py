"""Passages as they stand in a stored document: a hit with its neighbours, and where an offset of it lies."""

import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.filebytes import content_hash, read_file
from mlx_mixer.documents.filters import NO_FILTERS, Filters
from mlx_mixer.documents.structure import PageKind
from mlx_mixer.documents.unreadable import UnreadableError
from mlx_mixer.errors import LibraryError

FileState = Literal["same", "changed", "gone"]

NEIGHBOURS = 2
"""Chunks of the same section that are read before and after a hit."""


@dataclass(frozen=True)
class Passage:
    """A stretch of a stored document around one or more hits that lie side by side.

    Attributes:
        path: A file that holds it.
        content: Id of the document.
        start: Offset in characters of `text` in the stored document.
        text: The stretch: the hits, and their neighbours inside the section.
        core: ``(start, end)`` in `text` of the hits themselves.
        line: Line of the first character of `text`, counted from 1.
        page: Page it is on, counted from 1; None where the document has none.
        heading: Headings it lies under.
        chunk_id: Of the best of the hits.
        page_kind: What such a page is called; empty where it has none.
    """

    path: str
    content: int
    start: int
    text: str
    core: tuple[int, int]
    line: int
    page: int | None
    heading: str
    chunk_id: int
    page_kind: PageKind = ""


class _Chunk(NamedTuple):
    id: int
    content: int
    seq: int
    start: int
    line: int
    page: int | None
    heading: str
    body: str


@dataclass(frozen=True)
class StoredDocument:
    """The text that was read from a file, put together from its chunks; `page_kind` as for a passage."""

    text: str
    hash: bytes
    chunks: Sequence[_Chunk]
    page_kind: PageKind = ""

    def place(self, offset: int) -> tuple[int, int | None]:
        """Return line and page of the character at `offset`."""
        chunk = self.chunks[max(0, bisect_right(self.chunks, offset, key=lambda chunk: chunk.start) - 1)]
        return chunk.line + chunk.body.count("\n", 0, offset - chunk.start), chunk.page


_COLUMNS = "h.id, h.content, h.seq, h.start, h.line, h.page, h.heading, h.body"


def passages_around(db: Database, chunk_ids: Sequence[int]) -> list[Passage]:
    """Read chunks with their neighbours under the same heading and on the same page.

    Of chunks that lie side by side one passage is made, at the place of the first; neighbours that are hits
    themselves belong to no other passage. Chunks that are not in the library any more are left out.
    """
    hits = [chunk for chunk_id in chunk_ids if (chunk := _chunk(db, chunk_id)) is not None]
    taken = {(hit.content, hit.seq) for hit in hits}
    passages: list[Passage] = []
    done: set[tuple[int, int]] = set()
    for hit in hits:
        if (hit.content, hit.seq) in done:
            continue
        path = visible_path(db, hit.content)
        if path is None:
            continue
        section = _section(db, hit)
        low = high = next(index for index, chunk in enumerate(section) if chunk.seq == hit.seq)
        while low > 0 and (hit.content, section[low - 1].seq) in taken:
            low -= 1
        while high + 1 < len(section) and (hit.content, section[high + 1].seq) in taken:
            high += 1
        core = section[low : high + 1]
        done.update((hit.content, chunk.seq) for chunk in core)
        before = _free(section[:low][::-1], taken)[::-1]
        after = _free(section[high + 1 :], taken)
        (kind,) = db.execute("SELECT page_kind FROM contents WHERE id = ?", [hit.content]).fetchone()
        passages.append(replace(_passage(path, hit, before, core, after), page_kind=kind))
    return passages


def stored_document(db: Database, content: int) -> StoredDocument:
    """Read a whole document.

    Raises:
        LibraryError: If it is not in the library any more.
    """
    row = db.execute("SELECT hash, page_kind FROM contents WHERE id = ?", [content]).fetchone()
    if row is None:
        raise LibraryError("this document is not in the library any more; search again")
    rows = db.execute(f"SELECT {_COLUMNS} FROM chunks h WHERE h.content = ? ORDER BY h.id", [content])
    chunks = [_Chunk(*values) for values in rows]
    return StoredDocument("".join(chunk.body for chunk in chunks), row[0], chunks, row[1])


def file_state(path: str, content_digest: bytes, *, now_ns: int) -> FileState:
    """Whether a file still holds the very bytes that were read, by their hash."""
    try:
        data = read_file(os.fsencode(path), now_ns=now_ns).data
    except FileNotFoundError:
        return "gone"
    except (UnreadableError, OSError):
        return "changed"
    return "same" if content_hash(data) == content_digest else "changed"


def visible_path(db: Database, content: int, filters: Filters = NO_FILTERS) -> str | None:
    """The first path of a content at which there is still a file, and that passes the filters."""
    condition, parameters = filters.condition()
    rows = db.execute(
        f"SELECT f.path FROM files f WHERE f.content = ? AND f.missing_since IS NULL AND {condition} ORDER BY f.path",
        [content, *parameters],
    )
    return next((os.fsdecode(path) for (path,) in rows if os.path.lexists(path)), None)


def _chunk(db: Database, chunk_id: int) -> _Chunk | None:
    row = db.execute(f"SELECT {_COLUMNS} FROM chunks h WHERE h.id = ?", [chunk_id]).fetchone()
    return _Chunk(*row) if row else None


def _section(db: Database, hit: _Chunk) -> list[_Chunk]:
    """The run of chunks around a hit that share its heading and page."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM chunks h WHERE h.content = ? AND h.id BETWEEN ? AND ? ORDER BY h.id",
        [hit.content, hit.id - NEIGHBOURS, hit.id + NEIGHBOURS],
    )
    near = [_Chunk(*row) for row in rows]
    here = next(index for index, chunk in enumerate(near) if chunk.seq == hit.seq)
    low, high = here, here + 1
    while low > 0 and _is_beside(near[low - 1], hit):
        low -= 1
    while high < len(near) and _is_beside(near[high], hit):
        high += 1
    return near[low:high]


def _is_beside(chunk: _Chunk, hit: _Chunk) -> bool:
    return (chunk.heading, chunk.page) == (hit.heading, hit.page)


def _free(chunks: Sequence[_Chunk], taken: set[tuple[int, int]]) -> list[_Chunk]:
    """Those before the first that is a hit itself."""
    free: list[_Chunk] = []
    for chunk in chunks:
        if (chunk.content, chunk.seq) in taken:
            break
        free.append(chunk)
    return free


def _passage(
    path: str, hit: _Chunk, before: Sequence[_Chunk], core: Sequence[_Chunk], after: Sequence[_Chunk]
) -> Passage:
    chunks = (*before, *core, *after)
    lead = sum(len(chunk.body) for chunk in before)
    return Passage(
        path=path,
        content=hit.content,
        start=chunks[0].start,
        text="".join(chunk.body for chunk in chunks),
        core=(lead, lead + sum(len(chunk.body) for chunk in core)),
        line=chunks[0].line,
        page=hit.page,
        heading=hit.heading,
        chunk_id=hit.id,
    )
