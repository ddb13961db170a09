"""The keyword baseline: BM25 of SQLite's FTS5, as `evaluate.top1_among` wants it."""

import re
import sqlite3
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_WORD = re.compile(r"\w+")


class BM25Scorer:
    """Scores passages by FTS5's BM25, porter stemming, any of the query's words.

    The statistics are those of the passages drawn, as when a library holds nothing else.

    Args:
        queries: The query of every record; `None` for a record without.
        passages: The passage of every record.
    """

    def __init__(self, queries: Sequence[str | None], passages: Sequence[str]) -> None:
        self._queries = queries
        self._passages = passages

    def __call__(self, asked: npt.NDArray[np.int64], drawn: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Scores ``(len(asked), len(drawn))``, higher is closer, 0 where no word occurs."""
        scores = np.zeros((len(asked), len(drawn)), np.float32)
        database = sqlite3.connect(":memory:")
        try:
            database.execute("CREATE VIRTUAL TABLE passages USING fts5(text, tokenize='porter unicode61')")
            rows = ((column, self._passages[record]) for column, record in enumerate(drawn))
            database.executemany("INSERT INTO passages(rowid, text) VALUES (?, ?)", rows)
            for row, record in enumerate(asked):
                query = any_word(self._queries[record] or "")
                if query:
                    found = database.execute("SELECT rowid, rank FROM passages WHERE passages MATCH ?", (query,))
                    for column, rank in found:
                        scores[row, column] = -rank
        finally:
            database.close()
        return scores


def any_word(query: str) -> str:
    """An FTS5 expression that matches any word of a query; each word is quoted, so none is taken for an operator."""
    return " OR ".join(f'"{word}"' for word in dict.fromkeys(_WORD.findall(query)))
