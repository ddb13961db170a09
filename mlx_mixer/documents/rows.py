"""Many rows in one statement of SQL.

A statement that may have to be undone by itself (it has triggers, or a conflict clause) has every full-text table write
out what it collected so far. A thousand such statements in a transaction make a thousand small pieces of index that are
then merged; one statement for as many rows makes one.
"""

from collections.abc import Sequence
from itertools import chain

from mlx_mixer.documents.connection import Database

# SQLite takes 32,766 parameters at least.
_MOST_ROWS = 400


def insert_rows(db: Database, into: str, rows: Sequence[Sequence[object]], *, conflict: str = "") -> None:
    """Insert rows of the same length.

    Args:
        db: The connection, in a transaction.
        into: The statement up to its ``VALUES``.
        rows: The rows.
        conflict: What follows the values.
    """
    for start in range(0, len(rows), _MOST_ROWS):
        part = rows[start : start + _MOST_ROWS]
        row = f"({', '.join('?' * len(part[0]))})"
        db.execute(f"{into} VALUES {', '.join([row] * len(part))} {conflict}", list(chain.from_iterable(part)))
