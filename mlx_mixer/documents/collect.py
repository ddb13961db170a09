"""What is done now and then: checking the file, copying it, and giving back room nobody needs."""

from pathlib import Path

from mlx_mixer.documents import health, store
from mlx_mixer.documents.backup import make_backup
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.settings import LAST_BACKUP, LAST_CHECK, get_time, set_setting
from mlx_mixer.documents.transactions import write_transaction
from mlx_mixer.errors import LibraryError

CHECK_SECONDS = 24 * 3600
# Free pages are worth giving back to the disk from here on; below, they will be written again soon.
_FREE_PAGES = 256


def collect_garbage(db: Database, now: int, current: str | None) -> None:
    """Delete what nothing refers to any more; the caller holds the writer lock.

    Args:
        db: The writer's connection.
        now: Unix time.
        current: Fingerprint of the embedder in use. Vectors of others are deleted once it covers everything and they
            were not used for as long as a document without a file is kept.
    """
    before = now - store.GRACE_SECONDS
    with write_transaction(db):
        store.forget(db, before)
        if current is not None:
            store.forget_vectors(db, current, before, now)
    give_back_room(db)


def give_back_room(db: Database, *, least: int = _FREE_PAGES) -> None:
    """Shorten the file by its free pages, if there are so many at least."""
    if db.execute("PRAGMA freelist_count").fetchone()[0] >= least:
        db.executescript("PRAGMA incremental_vacuum")  # one step per page; `execute` would take only the first


def check_and_back_up(db: Database, library: Path, now: int) -> None:
    """Once a day, look for damage and make a copy; the caller holds the writer lock.

    Raises:
        LibraryError: If the library is damaged. Older copies are then left as they are.
    """
    last = get_time(db, LAST_CHECK)
    if last is not None and 0 <= now - last < CHECK_SECONDS:
        return
    faults = health.faults_in_file(db) or health.faults_in_words(db)
    if faults:
        raise LibraryError(f"the library {library} is damaged ({faults[0]}); mend it with: mlx-mixer docs repair")
    copy = make_backup(db, library)
    with write_transaction(db):
        set_setting(db, LAST_CHECK, now)
        if copy is not None:
            set_setting(db, LAST_BACKUP, now)
