"""The write side of the library: roots and files. Every function here runs inside a write transaction."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mlx_mixer.documents.chunk_hashes import forget_hashes
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.contents import save_contents
from mlx_mixer.documents.records import ContentData, FileData
from mlx_mixer.documents.rows import insert_rows
from mlx_mixer.documents.scan import is_inside, is_reached
from mlx_mixer.documents.words import PathWords

# How long what nothing refers to is kept: long enough to come back from another branch or a disk that was away.
GRACE_SECONDS = 7 * 24 * 3600
_WALKS_TO_FORGET = 2


class KnownFile(NamedTuple):
    """What the library remembers of a path; `reader` is None where nobody looked at its bytes."""

    id: int
    size: int
    mtime_ns: int
    inode: int
    state: str
    reason: str | None
    content: int | None
    reader: str | None
    reader_version: int | None
    missing_since: int | None


def known_files(db: Database, root: int, below: bytes | None = None) -> dict[bytes, KnownFile]:
    """Read what is remembered of the files of a root: all of them, or one path and what lies below it."""
    query = (
        "SELECT path, id, size, mtime_ns, inode, state, reason, content, reader, reader_version, missing_since"
        " FROM files WHERE root = ?"
    )
    make = KnownFile._make
    if below is None:
        return {row[0]: make(row[1:]) for row in db.execute(query, [root])}
    one = db.execute(f"{query} AND path = ?", [root, below])
    rows = [*one, *db.execute(f"{query} AND path > ? AND path < ?", [root, *_range_below(below)])]
    return {row[0]: make(row[1:]) for row in rows}


def _range_below(folder: bytes) -> tuple[bytes, bytes]:
    """What every path below a folder lies between."""
    folder = folder.rstrip(b"/")
    return folder + b"/", folder + b"0"  # "0" follows "/"


_SAVE_FILES = """
    INSERT INTO files (root, path, folder, name, suffix, size, mtime_ns, inode, modified, reader, reader_version, state,
        reason, content)
"""
_INSTEAD = """
    ON CONFLICT (path) DO UPDATE SET root = excluded.root, folder = excluded.folder, name = excluded.name,
        suffix = excluded.suffix, size = excluded.size, mtime_ns = excluded.mtime_ns, inode = excluded.inode,
        modified = excluded.modified, reader = excluded.reader, reader_version = excluded.reader_version,
        state = excluded.state, reason = excluded.reason, content = excluded.content, missing_since = NULL,
        missing_scans = 0
"""


def save_files(db: Database, root: int, files: Sequence[FileData], now: int) -> None:
    """Store what is known of paths, in place of what was known before; `now` is in Unix seconds."""
    new = iter(save_contents(db, [file.content for file in files if isinstance(file.content, ContentData)]))
    contents = [next(new) if isinstance(file.content, ContentData) else file.content for file in files]
    find = "SELECT content FROM files WHERE path = ?"
    before = [row[0] for file in files for row in db.execute(find, [file.path])]
    rows = [
        (
            *(root, f.path, *f.words, f.size, f.mtime_ns, f.inode, f.modified),
            *(f.reader, f.reader_version, f.state, f.reason, content),
        )
        for f, content in zip(files, contents, strict=True)
    ]
    insert_rows(db, _SAVE_FILES, rows, conflict=_INSTEAD)
    update_references(db, {*contents, *before}, now)


def move_file(db: Database, file_id: int, root: int, path: bytes, words: PathWords) -> None:
    """Give a known file a new path."""
    db.execute("DELETE FROM files WHERE path = ? AND id <> ?", [path, file_id])
    db.execute(
        "UPDATE files SET root = ?, path = ?, folder = ?, name = ?, suffix = ? WHERE id = ?",
        [root, path, *words, file_id],
    )


def hide(db: Database, files: Mapping[int, bytes], now: int) -> int:
    """Hide files that a whole walk did not find, and count that walk; return how many were visible documents.

    Args:
        db: The connection.
        files: Ids and the paths they were looked for at: a row that has another path by now was renamed.
        now: Unix time.
    """
    hidden = 0
    for file_id, path in files.items():
        row = db.execute(
            "SELECT content, missing_since FROM files WHERE id = ? AND path = ?", [file_id, path]
        ).fetchone()
        if row is None:
            continue
        db.execute(
            "UPDATE files SET missing_since = coalesce(missing_since, ?), missing_scans = missing_scans + 1"
            " WHERE id = ?",
            [now, file_id],
        )
        hidden += row[0] is not None and row[1] is None
        update_references(db, {row[0]}, now)
    return hidden


def show_again(db: Database, file_ids: Iterable[int], now: int) -> None:
    """Take back the hiding of files that were found again."""
    for file_id in file_ids:
        db.execute("UPDATE files SET missing_since = NULL, missing_scans = 0 WHERE id = ?", [file_id])
        update_references(db, {db.execute("SELECT content FROM files WHERE id = ?", [file_id]).fetchone()[0]}, now)


_UPDATE_REFERENCES = """
    UPDATE contents SET unreferenced_since = CASE WHEN visible THEN NULL ELSE ? END
    FROM (SELECT EXISTS (SELECT 1 FROM files WHERE files.content = ? AND missing_since IS NULL) AS visible)
    WHERE id = ? AND (unreferenced_since IS NULL) <> visible
"""


def update_references(db: Database, contents: Iterable[int | None], now: int) -> None:
    """Note for these contents whether a visible file has them, and if not, since when."""
    for content in contents:
        if content is not None:
            db.execute(_UPDATE_REFERENCES, [now, content, content])


def forget(db: Database, before: int) -> None:
    """Delete files that two whole walks did not find, and contents without a file since before a time.

    A content stays longer than its file: a branch switched back, or a file moved back, costs no reading and embedding.
    """
    db.execute("DELETE FROM files WHERE missing_scans >= ?", [_WALKS_TO_FORGET])
    gone = db.execute(
        "DELETE FROM contents WHERE unreferenced_since < ? AND NOT EXISTS"
        " (SELECT 1 FROM files WHERE files.content = contents.id)",
        [before],
    )
    if gone.rowcount:
        forget_hashes(db)


def remember_embedder(db: Database, fingerprint: str, dims: int, now: int) -> None:
    """Note that an embedder is in use."""
    db.execute(
        "INSERT INTO embedders (fingerprint, dims, last_used) VALUES (?, ?, ?)"
        " ON CONFLICT (fingerprint) DO UPDATE SET last_used = excluded.last_used",
        [fingerprint, dims, now],
    )


def forget_vectors(db: Database, current: str, before: int, now: int) -> None:
    """Delete vectors of embedders not used since a time, if the current one has a vector for every document."""
    db.execute("INSERT OR IGNORE INTO embedders SELECT DISTINCT fingerprint, dims, ? FROM vectors", [now])
    complete = (
        "NOT EXISTS (SELECT 1 FROM contents c WHERE unreferenced_since IS NULL AND NOT EXISTS"
        " (SELECT 1 FROM vectors v WHERE v.fingerprint = ? AND v.content = c.id))"
    )
    stale = f"fingerprint <> ? AND {complete} AND fingerprint"
    used = "(SELECT fingerprint FROM embedders WHERE last_used >= ?)"
    db.execute(f"DELETE FROM vectors WHERE {stale} NOT IN {used}", [current, current, before])
    db.execute(f"DELETE FROM embedders WHERE {stale} NOT IN {used}", [current, current, before])


def ensure_root(db: Database, path: bytes) -> tuple[int, bytes]:
    """Return the id and path of the root whose walk comes to `path`, or of a new one.

    Roots that the new one's walk comes to become part of it. One inside a folder that is left out (a hidden one, say)
    stays a root of its own.
    """
    roots = db.execute("SELECT id, path FROM roots").fetchall()
    for root, root_path in roots:
        if is_reached(path, root_path):
            return int(root), root_path
    cursor = db.execute("INSERT INTO roots (path) VALUES (?)", [path])
    new = cursor.lastrowid
    assert new is not None
    for root, root_path in roots:
        if is_reached(root_path, path):
            db.execute("UPDATE files SET root = ? WHERE root = ?", [new, root])
            db.execute("DELETE FROM roots WHERE id = ?", [root])
    return new, path


def judge_again(db: Database, path: bytes) -> int:
    """Have the next walk read again what readers refused at a path or below; return how many files that are."""
    low, high = _range_below(path)
    cursor = db.execute(
        "UPDATE files SET mtime_ns = -1 WHERE state <> 'indexed' AND reader IS NOT NULL"
        " AND (path = ? OR (path > ? AND path < ?))",
        [path, low, high],
    )
    return cursor.rowcount


def reached_paths(db: Database, paths: Iterable[bytes]) -> list[bytes]:
    """Leave out paths that no root's walk comes to."""
    roots = [row[0] for row in db.execute("SELECT path FROM roots")]
    return [path for path in paths if any(is_reached(path, root) for root in roots)]


def remove_path(db: Database, path: bytes) -> int:
    """Forget a file or folder at once, with its text and vectors; return how many files that were."""
    files = [row[0] for row in db.execute("SELECT id, path FROM files") if is_inside(row[1], path)]
    indexed = db.execute("SELECT count(*) FROM files WHERE state = 'indexed'").fetchone()[0]
    db.executemany("DELETE FROM files WHERE id = ?", [(file_id,) for file_id in files])
    roots = [row[0] for row in db.execute("SELECT id, path FROM roots") if is_inside(row[1], path)]
    db.executemany("DELETE FROM roots WHERE id = ?", [(root,) for root in roots])
    db.execute("DELETE FROM contents WHERE NOT EXISTS (SELECT 1 FROM files WHERE files.content = contents.id)")
    forget_hashes(db)
    return int(indexed - db.execute("SELECT count(*) FROM files WHERE state = 'indexed'").fetchone()[0])
