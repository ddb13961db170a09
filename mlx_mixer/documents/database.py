"""Opening the library's file: privately, safely, by many processes and threads at once."""

import errno
import os
import sqlite3
import threading
import time
from pathlib import Path
from urllib.parse import quote

from mlx_mixer.documents.backup import make_backup
from mlx_mixer.documents.blocks import add_functions
from mlx_mixer.documents.collect import give_back_room
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.failures import FAILURES, cannot_open
from mlx_mixer.documents.lock import writer_lock
from mlx_mixer.documents.migrations import Report, check_version, migrate, schema_version
from mlx_mixer.errors import LibraryError

# STRICT tables need 3.37; everything else used here is older.
_MINIMUM_SQLITE = (3, 37, 0)
_BUSY_SECONDS = 10.0
# In KiB, and taken as it is needed: ranking reads the same pages again and again (SQLite's own choice is 2 MB, with
# which a search among 100,000 passages takes a third longer). More than the words of most libraries need.
_CACHE = "cache_size = -65536"
# In pages of 8 KiB, so 32 MB beside the file: while documents are added, the same pages are written again and again,
# and go into the file fewer times (SQLite's own choice is 1,000).
_CHECKPOINT = "wal_autocheckpoint = 4000"


def open_database(path: Path, *, report: Report = lambda _: None) -> Database:
    """Open the library at `path`, creating it (file mode 0600, folder mode 0700) or upgrading it where needed.

    One that cannot be written is opened for reading only. Upgrading takes about a second for every 5 MB of text;
    `report` is told how it goes on.

    Raises:
        LibraryError: If the file is not a library, was written by a newer version, is damaged, or cannot be opened.
    """
    if sqlite3.sqlite_version_info < _MINIMUM_SQLITE:
        raise LibraryError(f"SQLite {sqlite3.sqlite_version} is too old; 3.37 or newer is needed")
    try:
        is_writable = _create_privately(path)
        db = connect(path) if is_writable else connect_to_read(path)
    except (OSError, *FAILURES) as error:
        raise cannot_open(path, error) from error
    try:
        if not _is_current(db):
            _prepare(db, path, is_writable=is_writable, report=report)
    except FAILURES as error:
        db.close()
        raise cannot_open(path, error) from error
    except BaseException:
        db.close()
        raise
    return db


def connect(path: Path) -> Database:
    """Open one connection with the settings every connection here has."""
    # Autocommit outside explicit transactions: nothing is ever left in an implicit one and lost on close.
    # check_same_thread: each connection is used by one thread, but `ThreadConnections.close` may run in another.
    db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=Database)
    try:
        for setting in ("foreign_keys = ON", "synchronous = NORMAL", "cell_size_check = ON", _CACHE, _CHECKPOINT):
            db.execute(f"PRAGMA {setting}")
        add_functions(db)
    except BaseException:
        db.close()
        raise
    return db


def connect_to_read(path: Path) -> Database:
    """Open a library that cannot be written: its folder or its whole disk is read-only.

    In WAL mode SQLite writes a little beside the file even to read it. Where it cannot, the file is read as it stands;
    nobody else can be writing to it either.
    """
    for mode in ("mode=ro", "immutable=1"):
        uri = f"file:{quote(os.fsencode(path))}?{mode}"
        db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, factory=Database)
        try:
            db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError:
            db.close()
            if mode == "immutable=1":
                raise
        else:
            break
    db.execute("PRAGMA query_only = ON")
    db.execute(f"PRAGMA {_CACHE}")
    add_functions(db)
    return db


def _create_privately(path: Path) -> bool:
    """Create the file if there is none; return whether it can be written."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o700)
    try:
        # SQLite gives its -wal and -shm files the mode of the database itself.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        if path.is_file() and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            return False
        raise
    return os.access(path.parent, os.W_OK)


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


def _prepare(db: Database, path: Path, *, is_writable: bool, report: Report) -> None:
    if not is_writable:
        raise LibraryError(f"the library {path} has an older schema and cannot be brought forward: it is read-only")
    with writer_lock(path, wait_seconds=_BUSY_SECONDS):
        if _is_current(db):
            return
        if schema_version(db):
            # A step forward cannot be undone: keep the library as it was.
            make_backup(db, path)
        # These take effect on an empty file only, and before the switch to WAL.
        db.execute("PRAGMA page_size = 8192")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        migrate(db, report=report)
        give_back_room(db, least=1)


class ThreadConnections:
    """One connection per thread to one library file."""

    def __init__(self, path: Path, *, report: Report = lambda _: None) -> None:
        self.path = path
        self._connections: dict[threading.Thread, Database] = {}
        self._lock = threading.Lock()
        self._closed = False
        first = open_database(path, report=report)
        self.is_read_only = bool(first.execute("PRAGMA query_only").fetchone()[0])
        self._connections[threading.current_thread()] = first

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
                self._connections[thread] = connect_to_read(self.path) if self.is_read_only else connect(self.path)
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
