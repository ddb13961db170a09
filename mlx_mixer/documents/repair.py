"""Put a damaged library right: from its own texts, from a copy, or at worst from the files it was made of."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlx_mixer.documents import health
from mlx_mixer.documents.backup import backups
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.database import connect, open_database
from mlx_mixer.documents.failures import FAILURES
from mlx_mixer.documents.lock import writer_lock
from mlx_mixer.documents.migrations import check_version
from mlx_mixer.documents.transactions import write_transaction
from mlx_mixer.errors import LibraryError


@dataclass(frozen=True)
class RepairReport:
    """What was found and done.

    Attributes:
        faults: What was wrong; empty for a sound library, which is left alone.
        rebuilt_words: Whether making the index of words anew was enough.
        kept_as: Where the damaged file is now, if it had to be replaced.
        restored_from: The copy that took its place; None if there was none, and the library begins afresh.
    """

    faults: tuple[str, ...] = ()
    rebuilt_words: bool = False
    kept_as: str | None = None
    restored_from: str | None = None

    @property
    def needs_refresh(self) -> bool:
        """Whether the files have to be looked through to bring everything back."""
        return self.kept_as is not None


def repair(library: Path) -> RepairReport:
    """Look for damage, and put right what is found; nothing is deleted.

    Raises:
        LibraryError: If the file belongs to another program or a newer version, or another process is writing.
    """
    if not library.exists():
        raise LibraryError(f"there is no library at {library}; add files with: mlx-mixer docs add PATH")
    with writer_lock(library, wait_seconds=10.0):
        faults = _faults(library)
        if not faults:
            return RepairReport()
        if _rebuild_words(library):
            return RepairReport(tuple(faults), rebuilt_words=True)
        roots = _readable_roots(library)
        kept = _move_away(library)
        source = next((copy for copy in backups(library) if not _faults(copy)), None)
        if source is not None:
            _copy_in_place(source, library)
    db = open_database(library)  # creates it where there was no copy; takes the writer lock for that
    with writer_lock(library, wait_seconds=10.0), closing(db), write_transaction(db):
        db.executemany("INSERT OR IGNORE INTO roots (path) VALUES (?)", roots)
    return RepairReport(tuple(faults), kept_as=str(kept), restored_from=str(source) if source else None)


@contextmanager
def _opened(path: Path) -> Iterator[Database]:
    db = connect(path)
    try:
        yield db
    finally:
        db.close()


def _faults(path: Path) -> list[str]:
    try:
        with _opened(path) as db:
            check_version(db)  # never take another program's file for a damaged library
            return health.faults_in_file(db) or health.faults_in_words(db)
    except FAILURES as error:
        return [str(error)]


def _rebuild_words(path: Path) -> bool:
    """Make the index of words anew if only that is damaged; return whether all is well now."""
    try:
        with _opened(path) as db:
            if health.faults_in_file(db):
                return False
            with write_transaction(db):
                health.rebuild_words(db)
            return not health.faults_in_file(db) and not health.faults_in_words(db)
    except FAILURES:
        return False


def _readable_roots(path: Path) -> list[tuple[bytes]]:
    try:
        with _opened(path) as db:
            return [(bytes(root),) for (root,) in db.execute("SELECT path FROM roots")]
    except (*FAILURES, TypeError):
        return []


def _move_away(library: Path) -> Path:
    """Rename the damaged file and what SQLite keeps beside it."""
    kept = library.with_name(f"{library.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    for suffix in ("-wal", "-shm", ""):
        file = library.with_name(library.name + suffix)
        if file.exists():
            file.rename(kept.with_name(kept.name + suffix))
    return kept


def _copy_in_place(source: Path, library: Path) -> None:
    partial = library.with_name(f"{library.name}.restored.partial")
    shutil.copyfile(source, partial)
    partial.chmod(0o600)
    with closing(sqlite3.connect(partial, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
    partial.rename(library)
