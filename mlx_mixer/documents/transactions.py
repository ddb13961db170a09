"""Every write goes through one function."""

from collections.abc import Iterator
from contextlib import contextmanager

from mlx_mixer.documents.connection import Database


@contextmanager
def write_transaction(db: Database) -> Iterator[None]:
    """Run a block in one `BEGIN IMMEDIATE` transaction: committed at the end, rolled back on any exception.

    A deferred transaction that reads before it writes fails at once with "locked" when another process committed in
    between, whatever the busy time-out; an immediate one waits its turn.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        # A full disk makes SQLite roll back by itself; a second ROLLBACK would hide the real error.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
