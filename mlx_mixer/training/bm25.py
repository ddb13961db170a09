"""BM25 of SQLite's FTS5: the keyword baseline as `evaluate.top1_among` wants it, and a ranking of many passages."""

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


# Passages that are scored for a query, about: what the rarest words find is where the best are.
_SCORED = 2000


class BM25Index:
    """Ranks many passages for one query after another.

    Only the rarest words of a query count, as many as stand in about 2,000 passages together, but two at least: the
    frequent ones cost nearly all of the time and decide next to nothing.

    Args:
        passages: The passages.
    """

    def __init__(self, passages: Sequence[str]) -> None:
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.execute("CREATE VIRTUAL TABLE passages USING fts5(text, tokenize='porter unicode61')")
        self._database.executemany("INSERT INTO passages(rowid, text) VALUES (?, ?)", enumerate(passages))
        self._frequency: dict[str, int] = {}

    def best(self, query: str, count: int) -> list[int]:
        """Numbers of the passages that score highest, best first; only those that share a word."""
        words = sorted(dict.fromkeys(_WORD.findall(query.lower())), key=self._passages_with)
        if not words:
            return []
        rarest, found = words[:2], sum(map(self._passages_with, words[:2]))
        for word in words[2:]:
            found += self._passages_with(word)
            if found > _SCORED:
                break
            rarest.append(word)
        rows = self._database.execute(
            "SELECT rowid FROM passages WHERE passages MATCH ? ORDER BY rank LIMIT ?",
            (any_word(" ".join(rarest)), count),
        )
        return [row for (row,) in rows]

    def _passages_with(self, word: str) -> int:
        """How many passages a word stands in; no further than it takes to leave it out."""
        if word not in self._frequency:
            rows = self._database.execute(
                "SELECT count(*) FROM (SELECT 1 FROM passages WHERE passages MATCH ? LIMIT ?)",
                (any_word(word), _SCORED + 1),
            )
            self._frequency[word] = rows.fetchone()[0]
        return self._frequency[word]


def any_word(query: str) -> str:
    """An FTS5 expression that matches any word of a query; each word is quoted, so none is taken for an operator."""
    return " OR ".join(f'"{word}"' for word in dict.fromkeys(_WORD.findall(query)))
