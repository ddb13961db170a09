"""Copies of the library beside it, made by SQLite itself so that they are whole whatever is being written."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from mlx_mixer.documents.connection import Database

# The newest is the first.
KEPT = 2
# A backup must not be what fills the disk.
_SPARE_BYTES = 500_000_000
_PAGES_PER_STEP = 4096


def backups(library: Path) -> list[Path]:
    """The copies there are, newest first."""
    return [path for number in range(1, KEPT + 1) if (path := _name(library, number)).exists()]


def make_backup(db: Database, library: Path) -> Path | None:
    """Copy the library; return the copy, or None if the disk has no room for it.

    The caller holds the writer lock and has found the library sound: a damaged one must not push out a good copy.
    """
    size = library.stat().st_size
    if shutil.disk_usage(library.parent).free < size + _SPARE_BYTES:
        return None
    partial = _name(library, 0)
    partial.unlink(missing_ok=True)
    try:
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(partial, isolation_level=None)) as copy:
            db.backup(copy, pages=_PAGES_PER_STEP)
            # One file and no other beside it, so that moving it is enough.
            copy.execute("PRAGMA journal_mode = DELETE").fetchall()
        for number in range(KEPT, 1, -1):
            if (older := _name(library, number - 1)).exists():
                older.replace(_name(library, number))
        partial.replace(_name(library, 1))
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return _name(library, 1)


def _name(library: Path, number: int) -> Path:
    return library.with_name(f"{library.name}.backup-{number}" if number else f"{library.name}.backup.partial")
