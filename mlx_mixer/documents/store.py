"""The write side of the library: roots, files and contents. Every function here runs inside a write transaction."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sqlite_utils import Database

from mlx_mixer.documents.scan import is_inside, is_reached
from mlx_mixer.documents.words import PathWords

# How long what nothing refers to is kept: long enough to come back from another branch or a disk that was away.
GRACE_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True)
class ChunkData:
    """One row of `chunks`, its offsets in the document aside (see schema.py)."""

    start: int
    line: int
    heading: str
    body: str
    identifiers: str
    hash: bytes


@dataclass(frozen=True)
class ContentData:
    """A document that was read and cut, ready to be stored."""

    hash: bytes
    reader: str
    reader_version: int
    title: str
    encoding: str
    characters: int
    chunks: Sequence[ChunkData]


@dataclass(frozen=True)
class FileData:
    """One row of `files`. `content` is a row's id, or a document to store first; None for a file left out."""

    path: bytes
    words: PathWords
    size: int = 0
    mtime_ns: int = 0
    inode: int = 0
    state: Literal["indexed", "skipped", "failed"] = "indexed"
    reason: str | None = None
    content: ContentData | int | None = None


class KnownFile(NamedTuple):
    """What the library remembers of a path; `reader_version` is None for files left out."""

    id: int
    size: int
    mtime_ns: int
    inode: int
    state: str
    reason: str | None
    content: int | None
    reader_version: int | None
    missing_since: int | None


def known_files(db: Database, root: int) -> dict[bytes, KnownFile]:
    """Read everything remembered below a root."""
    rows = db.execute(
        "SELECT f.path, f.id, f.size, f.mtime_ns, f.inode, f.state, f.reason, f.content, c.reader_version,"
        " f.missing_since FROM files f LEFT JOIN contents c ON c.id = f.content WHERE f.root = ?",
        [root],
    )
    return {row[0]: KnownFile(*row[1:]) for row in rows}


def find_content(db: Database, content_hash: bytes, reader: str, reader_version: int) -> int | None:
    """Return the id of a document that was stored before."""
    row = db.execute(
        "SELECT id FROM contents WHERE hash = ? AND reader = ? AND reader_version = ?",
        [content_hash, reader, reader_version],
    ).fetchone()
    return row[0] if row else None


def save_content(db: Database, content: ContentData) -> int:
    """Store a document, its chunks and their words; return its id (the old one if it is there already)."""
    known = find_content(db, content.hash, content.reader, content.reader_version)
    if known is not None:
        return known
    cursor = db.execute(
        "INSERT INTO contents (hash, reader, reader_version, title, encoding, characters, chunk_count)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            content.hash,
            content.reader,
            content.reader_version,
            content.title,
            content.encoding,
            content.characters,
            len(content.chunks),
        ],
    )
    content_id = cursor.lastrowid
    assert content_id is not None
    db.table("chunks").insert_all(
        {"content": content_id, "seq": seq, **vars(chunk)} for seq, chunk in enumerate(content.chunks)
    )
    db.execute(
        "INSERT INTO chunks_fts (rowid, heading, body, identifiers)"
        " SELECT id, heading, body, identifiers FROM chunks WHERE content = ?",
        [content_id],
    )
    return content_id


def save_file(db: Database, root: int, file: FileData, now: int) -> None:
    """Store what is known of a path, in place of what was known before; `now` is in Unix seconds."""
    content = save_content(db, file.content) if isinstance(file.content, ContentData) else file.content
    before = db.execute("SELECT content FROM files WHERE path = ?", [file.path]).fetchone()
    db.execute(
        "INSERT INTO files (root, path, folder, name, suffix, size, mtime_ns, inode, state, reason, content)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (path) DO UPDATE SET root = excluded.root, folder = excluded.folder, name = excluded.name,"
        " suffix = excluded.suffix,"
        " size = excluded.size, mtime_ns = excluded.mtime_ns, inode = excluded.inode, state = excluded.state,"
        " reason = excluded.reason, content = excluded.content, missing_since = NULL",
        [root, file.path, *file.words, file.size, file.mtime_ns, file.inode, file.state, file.reason, content],
    )
    update_references(db, {content, before[0] if before else None}, now)


def move_file(db: Database, file_id: int, root: int, path: bytes, words: PathWords) -> None:
    """Give a known file a new path."""
    db.execute("DELETE FROM files WHERE path = ? AND id <> ?", [path, file_id])
    db.execute(
        "UPDATE files SET root = ?, path = ?, folder = ?, name = ?, suffix = ? WHERE id = ?",
        [root, path, *words, file_id],
    )


def set_missing(db: Database, file_ids: Iterable[int], *, since: int | None, now: int) -> None:
    """Hide files that are gone, or show them again (`since` None)."""
    for file_id in file_ids:
        db.execute("UPDATE files SET missing_since = ? WHERE id = ?", [since, file_id])
        update_references(db, {db.execute("SELECT content FROM files WHERE id = ?", [file_id]).fetchone()[0]}, now)


def update_references(db: Database, contents: Iterable[int | None], now: int) -> None:
    """Note for these contents whether a visible file has them, and if not, since when."""
    visible = "EXISTS (SELECT 1 FROM files WHERE files.content = contents.id AND missing_since IS NULL)"
    for content in contents:
        db.execute(
            f"UPDATE contents SET unreferenced_since = CASE WHEN {visible} THEN NULL ELSE ? END"
            f" WHERE id = ? AND (unreferenced_since IS NULL) <> {visible}",
            [now, content],
        )


def forget(db: Database, before: int) -> None:
    """Delete files missing and contents unreferenced since before a time (Unix seconds), and what hangs on them."""
    db.execute("DELETE FROM files WHERE missing_since < ?", [before])
    db.execute(
        "DELETE FROM contents WHERE unreferenced_since < ? AND NOT EXISTS"
        " (SELECT 1 FROM files WHERE files.content = contents.id)",
        [before],
    )


def ensure_root(db: Database, path: bytes) -> int:
    """Return the id of the root whose walk comes to `path`, or of a new one.

    Roots that the new one's walk comes to become part of it. One inside a folder that is left out (a hidden one, say)
    stays a root of its own.
    """
    roots = db.execute("SELECT id, path FROM roots").fetchall()
    for root, root_path in roots:
        if is_reached(path, root_path):
            return int(root)
    cursor = db.execute("INSERT INTO roots (path) VALUES (?)", [path])
    new = cursor.lastrowid
    assert new is not None
    for root, root_path in roots:
        if is_reached(root_path, path):
            db.execute("UPDATE files SET root = ? WHERE root = ?", [new, root])
            db.execute("DELETE FROM roots WHERE id = ?", [root])
    return new


def remove_path(db: Database, path: bytes) -> int:
    """Forget a file or folder at once, with its text and vectors; return how many files that were."""
    files = [row[0] for row in db.execute("SELECT id, path FROM files") if is_inside(row[1], path)]
    indexed = db.execute("SELECT count(*) FROM files WHERE state = 'indexed'").fetchone()[0]
    db.conn.executemany("DELETE FROM files WHERE id = ?", [(file_id,) for file_id in files])
    roots = [row[0] for row in db.execute("SELECT id, path FROM roots") if is_inside(row[1], path)]
    db.conn.executemany("DELETE FROM roots WHERE id = ?", [(root,) for root in roots])
    db.execute("DELETE FROM contents WHERE NOT EXISTS (SELECT 1 FROM files WHERE files.content = contents.id)")
    return int(indexed - db.execute("SELECT count(*) FROM files WHERE state = 'indexed'").fetchone()[0])
