"""Opening the library's file: privately, safely, by many processes and threads at once."""

import os
import sqlite3
import threading
import time
from pathlib import Path

from sqlite_utils import Database

from mlx_mixer.documents.lock import writer_lock
from mlx_mixer.documents.migrations import check_version, migrate
from mlx_mixer.errors import LibraryError

# STRICT tables need 3.37; everything else used here is older.
_MINIMUM_SQLITE = (3, 37, 0)
_BUSY_SECONDS = 10.0


def open_database(path: Path) -> Database:
    """Open the library at `path`, creating it (file mode 0600, folder mode 0700) or upgrading it where needed.

    Raises:
        LibraryError: If the file is not a library, was written by a newer version, is damaged, or cannot be opened.
    """
    if sqlite3.sqlite_version_info < _MINIMUM_SQLITE:
        raise LibraryError(f"SQLite {sqlite3.sqlite_version} is too old; 3.37 or newer is needed")
    try:
        _create_privately(path)
        db = connect(path)
    except (OSError, sqlite3.Error) as error:
        raise LibraryError(f"cannot open the library {path}: {error}") from error
    try:
        if not _is_current(db):
            _prepare(db, path)
    except sqlite3.Error as error:
        db.close()
        raise LibraryError(f"cannot open the library {path}: {error}") from error
    except BaseException:
        db.close()
        raise
    return db


def connect(path: Path) -> Database:
    """Open one connection with the settings every connection here has."""
    # Autocommit outside explicit transactions: nothing is ever left in an implicit one and lost on close.
    # check_same_thread: each connection is used by one thread, but `ThreadConnections.close` may run in another.
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    db = Database(connection)  # turns recursive_triggers on
    for setting in ("foreign_keys = ON", "synchronous = NORMAL", "cell_size_check = ON"):
        db.execute(f"PRAGMA {setting}")
    return db


def _create_privately(path: Path) -> None:
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o700)
    # SQLite gives its -wal and -shm files the mode of the database itself.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _is_current(db: Database) -> bool:
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            return check_version(db)
        except sqlite3.OperationalError as error:
            # SQLite does not wait by itself while another process switches the new file to WAL.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _prepare(db: Database, path: Path) -> None:
    with writer_lock(path, wait_seconds=_BUSY_SECONDS):
        if _is_current(db):
            return
        # These take effect on an empty file only, and before the switch to WAL.
        db.execute("PRAGMA page_size = 8192")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        migrate(db)


class ThreadConnections:
    """One connection per thread to one library file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connections: dict[threading.Thread, Database] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._connections[threading.current_thread()] = open_database(path)

    def get(self) -> Database:
        """Return this thread's connection.

        Raises:
            LibraryError: If the library was closed.
        """
        thread = threading.current_thread()
        with self._lock:
            if self._closed:
                raise LibraryError("the library is closed")
            if thread not in self._connections:
                self._close_finished_threads()
                self._connections[thread] = connect(self.path)
            return self._connections[thread]

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for db in self._connections.values():
                db.close()
            self._connections.clear()

    def _close_finished_threads(self) -> None:
        for thread in [thread for thread in self._connections if not thread.is_alive()]:
            self._connections.pop(thread).close()
