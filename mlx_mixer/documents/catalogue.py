"""What the library holds, as rows for lists and screens."""

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from mlx_mixer.documents.close_up import Spans, matches_in
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.embedder_choice import BUNDLED, stored_choice
from mlx_mixer.documents.events import FileNote
from mlx_mixer.documents.lock import adapting_process, watching_process
from mlx_mixer.documents.meaning import pending_chunks
from mlx_mixer.documents.migrations import schema_version
from mlx_mixer.documents.query import Query
from mlx_mixer.documents.settings import LAST_BACKUP, LAST_CHECK, get_time
from mlx_mixer.errors import LibraryError

_VISIBLE = "state = 'indexed' AND missing_since IS NULL"


@dataclass(frozen=True)
class DocumentRow:
    """One indexed file. `size` is in bytes; `has_meaning` tells whether its chunks are embedded."""

    path: str
    title: str
    size: int
    chunks: int
    has_meaning: bool


@dataclass(frozen=True)
class ChunkRow:
    """One chunk in full, for a preview.

    Attributes:
        chunk_id: Its id.
        path: A file that holds it.
        line: Line of its first character, counted from 1.
        heading: Headings it lies under, joined with " › ".
        text: Its text.
        marks: Character spans of a query's words in `text`.
        meaning_marks: Spans of words that are near the query in meaning.
    """

    chunk_id: int
    path: str
    line: int
    heading: str
    text: str
    marks: Spans = ()
    meaning_marks: Spans = ()


@dataclass(frozen=True)
class LibraryStatus:
    """The state of the library.

    Attributes:
        path: Its file.
        roots: The files and folders that were added.
        documents: Files that can be found.
        chunks: Pieces they are cut into, copies counted once.
        pending: Chunks the attached embedder has not seen yet (all of them without one).
        skipped: Files and folders left out on purpose.
        failed: Files that should be read and cannot be.
        size: Bytes on disk.
        schema: Version of the schema.
        sqlite: Version of SQLite.
        read_only: Whether it can be searched only.
        checked: Unix time when its file was last found sound; None before the first time.
        backed_up: Unix time of the newest copy beside it.
        watcher: Id of the process that watches the folders, if one does.
        embedder: Name of the model whose vectors are searched.
        incoming: Name of the one that is taking over, if any.
        incoming_pending: Chunks that one has not seen yet.
        adapting: Id of the process that is training a model on the library, if one does.
    """

    path: str
    roots: tuple[str, ...]
    documents: int
    chunks: int
    pending: int
    skipped: int
    failed: int
    size: int
    schema: int
    sqlite: str
    read_only: bool = False
    checked: int | None = None
    backed_up: int | None = None
    watcher: int | None = None
    embedder: str = BUNDLED
    incoming: str | None = None
    incoming_pending: int = 0
    adapting: int | None = None


def library_status(db: Database, path: Path, fingerprint: str | None) -> LibraryStatus:
    """Count what the library holds."""
    states = dict(db.execute("SELECT state, count(*) FROM files WHERE missing_since IS NULL GROUP BY state").fetchall())
    chunks = db.execute(
        "SELECT coalesce(sum(chunk_count), 0) FROM contents WHERE unreferenced_since IS NULL"
    ).fetchone()[0]
    choice = stored_choice(db)
    incoming = choice.incoming
    files = [path.with_name(path.name + suffix) for suffix in ("", "-wal")]
    return LibraryStatus(
        path=str(path),
        roots=tuple(os.fsdecode(root) for (root,) in db.execute("SELECT path FROM roots ORDER BY path")),
        documents=states.get("indexed", 0),
        chunks=chunks,
        pending=chunks if fingerprint is None else pending_chunks(db, fingerprint),
        skipped=states.get("skipped", 0),
        failed=states.get("failed", 0),
        size=sum(file.stat().st_size for file in files if file.exists()),
        schema=schema_version(db),
        sqlite=sqlite3.sqlite_version,
        read_only=bool(db.execute("PRAGMA query_only").fetchone()[0]),
        checked=get_time(db, LAST_CHECK) or None,
        backed_up=get_time(db, LAST_BACKUP),
        watcher=watching_process(path),
        embedder=choice.current,
        incoming=None if incoming is None else incoming.name,
        incoming_pending=0 if incoming is None else pending_chunks(db, incoming.fingerprint),
        adapting=adapting_process(path),
    )


def document_rows(db: Database, fingerprint: str | None) -> list[DocumentRow]:
    """List the indexed files in order of path."""
    rows = db.execute(
        "SELECT f.path, c.title, f.size, c.chunk_count,"
        " EXISTS (SELECT 1 FROM vectors v WHERE v.fingerprint = ? AND v.content = c.id)"
        f" FROM files f JOIN contents c ON c.id = f.content WHERE {_VISIBLE} ORDER BY f.path",
        [fingerprint],
    )
    return [
        DocumentRow(os.fsdecode(path), title, size, chunks, bool(known)) for path, title, size, chunks, known in rows
    ]


def left_out(db: Database) -> list[FileNote]:
    """List the files and folders that are not indexed, with their reasons, in order of path."""
    rows = db.execute("SELECT path, reason FROM files WHERE state <> 'indexed' AND missing_since IS NULL ORDER BY path")
    return [FileNote(os.fsdecode(path), reason) for path, reason in rows]


def chunk_row(db: Database, chunk_id: int, query: Query) -> ChunkRow:
    """Read one chunk.

    Raises:
        LibraryError: If it is not in the library (any more).
    """
    row = db.execute(
        "SELECT h.line, h.heading, h.body, (SELECT path FROM files f WHERE f.content = h.content"
        " ORDER BY missing_since IS NOT NULL, path LIMIT 1) FROM chunks h WHERE h.id = ?",
        [chunk_id],
    ).fetchone()
    if row is None or row[3] is None:
        raise LibraryError("this passage is not in the library any more; search again")
    line, heading, body, path = row
    marks = matches_in(db, query, chunk_id).spans
    return ChunkRow(chunk_id, os.fsdecode(path), line, heading, body, marks)
