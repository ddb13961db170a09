r"""Several ways to find on the same trials, and how far apart they are for certain.

Every trial draws n records and scores every query among them against all n passages by every way: words (BM25),
vectors, and both together in the form that searches use,

.. math:: s = (1 - a) \, \mathrm{bm25} / \max \mathrm{bm25} + a \, \mathrm{clip}(\cos', 0, 1)

with the cosines taken after the mean passage vector was taken from both sides. See `mlx_mixer.documents.fusion`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlx_mixer.documents.fusion import fuse
from mlx_mixer.training.evaluate import Scorer, draw_trials, vector_scorer
from mlx_mixer.training.unit_rows import unit_rows

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
WORDS = "bm25"
MEANING_SHARE = 0.5


@dataclass(frozen=True)
class Outcomes:
    """Who put the right passage first.

    Attributes:
        candidates: Passages each query chose from.
        records: ``(Q,)`` number of each query's record; the same record may be asked in several trials.
        right: By way, ``(Q,)`` whether it did.
    """

    candidates: int
    records: Numbers
    right: Mapping[str, npt.NDArray[np.bool_]]

    def accuracy(self, name: str) -> float:
        """Share of queries, from 0 to 1."""
        return float(self.right[name].mean())

    def half_width(self, name: str) -> float:
        """Half the 95 % interval of the accuracy, with records as in `difference`."""
        return _half_width(self.records, self.right[name].astype(np.float64))

    def difference(self, first: str, second: str) -> tuple[float, float]:
        """How much more often the first is right than the second, and half of the 95 % interval.

        Queries of one record are not independent: they count as one observation in the variance (clustered standard
        error, normal approximation).
        """
        apart = self.right[first].astype(np.float64) - self.right[second]
        return float(apart.mean()), _half_width(self.records, apart)


def _half_width(records: Numbers, values: npt.NDArray[np.float64]) -> float:
    by_record = np.bincount(records, weights=values - values.mean())
    return float(1.96 * np.sqrt((by_record**2).sum()) / len(values))


def both(name: str) -> str:
    """Name of the mix of words and the vectors called `name`."""
    return f"{name}+{WORDS}"


def compare(
    candidates: int,
    has_query: npt.NDArray[np.bool_],
    words: Scorer,
    vectors: Mapping[str, tuple[Vectors, Vectors]],
    *,
    queries: int,
    seed: int,
    meaning: float = MEANING_SHARE,
) -> Outcomes:
    """Ask the same queries in every way.

    Args:
        candidates: Passages of a trial, n.
        has_query: ``(N,)``, whether a record has a query.
        words: BM25 scores.
        vectors: By name, unit vectors ``(N, D)`` of the queries and of the passages.
        queries: Stop after the trial in which this many are reached.
        seed: Decides the trials.
        meaning: Weight `a` of the cosine in the mix.

    Raises:
        MixerError: If there are fewer records than candidates, or no record has a query.
    """
    plain = {name: vector_scorer(*sides) for name, sides in vectors.items()}
    centred = {name: vector_scorer(*_centred(*sides)) for name, sides in vectors.items()}
    records: list[Numbers] = []
    right: dict[str, list[npt.NDArray[np.bool_]]] = {}
    for drawn, asking in draw_trials(candidates, has_query, queries=queries, seed=seed):
        asked = drawn[asking]
        scores = {WORDS: words(asked, drawn)}
        for name in vectors:
            scores[name] = plain[name](asked, drawn)
            scores[both(name)] = _mixed(scores[WORDS], centred[name](asked, drawn), meaning)
        records.append(asked)
        for name, found in scores.items():
            right.setdefault(name, []).append(found.argmax(axis=1) == asking)
    return Outcomes(candidates, np.concatenate(records), {name: np.concatenate(parts) for name, parts in right.items()})


def _mixed(bm25: Vectors, cosines: Vectors, meaning: float) -> Vectors:
    none = np.zeros(bm25.shape[1])
    rows = zip(bm25.astype(np.float64), cosines.astype(np.float64), strict=True)
    return np.stack([fuse(words, near, none, meaning=meaning, name=0.0) for words, near in rows]).astype(np.float32)


def _centred(queries: Vectors, passages: Vectors) -> tuple[Vectors, Vectors]:
    mean = passages.mean(axis=0)
    return unit_rows(queries - mean), unit_rows(passages - mean)
