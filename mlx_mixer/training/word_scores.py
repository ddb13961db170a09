"""BM25 of every passage for one query after another, as FTS5 reckons it, from lists that are made once.

FTS5 scores what it finds; a list of candidates needs the scores of what cosines found, too. Its own tables say which
words, stemmed, stand where; the sums are NumPy's.
"""

import sqlite3
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_K1, _B = 1.2, 0.75
# What FTS5 gives a word that stands in more than half of the passages.
_LEAST_IDF = 1e-6
_BEST = 3

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


class WordScores:
    """BM25, and how much of a query the best passages hold.

    Args:
        queries: All queries.
        passages: All passages.
    """

    def __init__(self, queries: Sequence[str], passages: Sequence[str]) -> None:
        self._count = len(passages)
        self._terms: list[list[str]] = [[] for _ in queries]
        asked = _places_of(queries)
        for term, places in asked.items():
            for query in np.unique(places).tolist():
                self._terms[query].append(term)
        found = _places_of(passages)
        lengths = np.zeros(len(passages))
        for places in found.values():
            lengths += np.bincount(places, minlength=len(passages))
        norms = _K1 * (1 - _B + _B * lengths / max(lengths.mean(), 1e-9))
        self._impacts = {term: self._impact(found[term], norms) for term in found.keys() & asked.keys()}

    def __call__(self, query: int) -> tuple[Floats, float]:
        """``(N,)`` scores, 0 where no word occurs, and the largest share of the words that one of the best holds."""
        scores = np.zeros(self._count, np.float32)
        impacts = [self._impacts[term] for term in self._terms[query] if term in self._impacts]
        for passages, values in impacts:
            scores[passages] += values
        best = np.argpartition(-scores, min(_BEST, self._count) - 1)[:_BEST]
        held = [sum(int(np.isin(passage, passages)) for passages, _ in impacts) for passage in best]
        return scores, max(held) / max(len(self._terms[query]), 1)

    def _impact(self, places: Numbers, norms: npt.NDArray[np.float64]) -> tuple[Numbers, Floats]:
        passages, counts = np.unique(places, return_counts=True)
        idf = np.log((self._count - len(passages) + 0.5) / (len(passages) + 0.5))
        values = max(float(idf), _LEAST_IDF) * counts * (_K1 + 1) / (counts + norms[passages])
        return passages, values.astype(np.float32)


def _places_of(texts: Sequence[str]) -> dict[str, Numbers]:
    """For every stemmed word the numbers of the texts it stands in, as often as it does."""
    database = sqlite3.connect(":memory:")
    try:
        database.execute("CREATE VIRTUAL TABLE texts USING fts5(text, tokenize='porter unicode61')")
        database.execute("CREATE VIRTUAL TABLE places USING fts5vocab(texts, 'instance')")
        database.executemany("INSERT INTO texts(rowid, text) VALUES (?, ?)", enumerate(texts))
        rows = database.execute("SELECT term, group_concat(doc) FROM places GROUP BY term")
        return {term: np.fromstring(numbers, dtype=np.int64, sep=",") for term, numbers in rows}
    finally:
        database.close()
