"""How many chunks hold a word: exact for rare ones, estimated from both ends of the library for common ones.

SQLite can count only by walking a word's whole list, which costs more than the search it is asked for (30 ms for eight
words in 200,000 chunks). The first and last `_SAMPLE` rows of a list say how dense it is.
"""

import math
from collections.abc import Sequence

from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.query import match_term

_SAMPLE = 512


class TermCounts:
    """Counts of words, remembered until the library grows."""

    def __init__(self) -> None:
        self._largest_id = -1
        self._counts: dict[str, float] = {}

    def chunks(self, db: Database) -> int:
        """About how many chunks there are (those that were deleted since count as well)."""
        return int(db.execute("SELECT coalesce(max(id), 0) FROM chunk_places").fetchone()[0])

    def counts(self, db: Database, terms: Sequence[str]) -> dict[str, float]:
        """About how many chunks hold each of some words, names or phrases."""
        largest = self.chunks(db)
        if largest != self._largest_id:
            self._largest_id, self._counts = largest, {}
        known = self._counts
        for term in terms:
            if term not in known:
                known[term] = _estimate(db, match_term(term), largest)
        return {term: known[term] for term in terms}

    def idfs(self, db: Database, terms: Sequence[str]) -> dict[str, float]:
        """How much each word says: the logarithm of how rare it is, above 0; the most for one that no chunk holds."""
        total = max(self.chunks(db), 1)
        return {term: math.log(1.0 + total / (count + 0.5)) for term, count in self.counts(db, terms).items()}


def _estimate(db: Database, expression: str, largest: int) -> float:
    first, last, count = _stretch(db, expression, "ASC")
    if count < _SAMPLE:
        return float(count)
    forward = count * (largest - first + 1) / (last - first + 1)
    first, last, count = _stretch(db, expression, "DESC")
    backward = count * last / (last - first + 1)
    return max(float(_SAMPLE), (forward + backward) / 2.0)


def _stretch(db: Database, expression: str, order: str) -> tuple[int, int, int]:
    """The smallest and largest row, and the number of rows, of one end of a word's list."""
    row = db.execute(
        "SELECT coalesce(min(rowid), 0), coalesce(max(rowid), 0), count(*) FROM"
        f" (SELECT rowid FROM chunks_fts WHERE chunks_fts MATCH ? ORDER BY rowid {order} LIMIT {_SAMPLE})",
        [expression],
    ).fetchone()
    return row[0], row[1], row[2]
