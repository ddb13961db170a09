"""Wrong answers that are hard to tell from the right one: what BM25 or the model itself ranks high for a query.

A passage that says the same as the right one is none of them: see `SameText`. Of what is mined, a few are drawn at
random at every step, so that one wrongly labelled passage does not stand beside its query for ever.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from mlx_mixer.atomic import write_atomically
from mlx_mixer.errors import UsageError
from mlx_mixer.folding import fold
from mlx_mixer.training.bm25 import BM25Index
from mlx_mixer.training.data import Pair
from mlx_mixer.training.pair_batches import Rivals

Miner = Literal["bm25", "model", "both"]
Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

_WORD = re.compile(r"\w+")
# Runs of this many words are compared, and passages that share this much of the shorter one's say the same.
_RUN, _SHARED = 4, 0.6
# Of a polynomial hash; odd, and its products fill 64 bits.
_MULTIPLIER = 0x5851F42D4C957F2D
_QUERIES_AT_ONCE = 512


@dataclass(frozen=True, kw_only=True)
class MiningSettings:
    """Which wrong answers are brought for each query.

    Attributes:
        count: Wrong answers for each query of a batch, beside the other passages of the batch; 0 brings none.
        miner: Who looks for them: "bm25", by the query's words; "model", by the cosines of the model as it then is;
            "both", half of them each.
        pool: Of how many of the best each draws.
        every: Steps after which the model looks anew.
        among: Passages the model looks among; a random sample where there are more.
    """

    count: int = 0
    miner: Miner = "bm25"
    pool: int = 16
    every: int = 100
    among: int = 20_000

    def __post_init__(self) -> None:
        if self.miner not in get_args(Miner):
            raise UsageError(f"miner is {self.miner!r}; it must be one of {', '.join(get_args(Miner))}")
        for name, least in (("count", 0), ("pool", 1), ("every", 1), ("among", 2)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} of the mining is {getattr(self, name)}; it must be at least {least}")
        if self.count > self.pool:
            raise UsageError(f"{self.count} hard negatives are drawn from a pool of {self.pool}; give a larger pool")


class SameText:
    """Which passages say the same, so that none is a wrong answer where the other is right.

    Two passages do if they are equal but for case and white space, if a query is asked for both, or if 60 % of the
    shorter one's runs of four words stand in the other.

    Args:
        pairs: The pairs.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs = pairs
        numbers: dict[str, int] = {}
        self.groups: Numbers = np.array([numbers.setdefault(fold(pair.passage), i) for i, pair in enumerate(pairs)])
        self._runs: dict[int, Numbers] = {}
        self._queries = [frozenset(map(fold, pair.queries)) for pair in pairs]

    def __call__(self, first: int, second: int) -> bool:
        """Whether the passages of these two pairs say the same."""
        if self.groups[first] == self.groups[second] or self._queries[first] & self._queries[second]:
            return True
        one, other = self._runs_of(first), self._runs_of(second)
        shared = len(np.intersect1d(one, other, assume_unique=True))
        return shared > 0 and shared >= _SHARED * min(len(one), len(other))

    def without(self, pair: int, others: Iterable[int], count: int) -> list[int]:
        """The first `count` of some passages that do not say the same as that of `pair`."""
        return list(islice((other for other in map(int, others) if not self(pair, other)), count))

    def excluded(self, records: Numbers, count: int) -> npt.NDArray[np.bool_]:
        """Which passages of a batch are no wrong answers: ``(B, P)``, true for equal texts besides a query's own.

        Args:
            records: ``(P,)`` pair of each passage; row i of the first B answers query i.
            count: B.
        """
        groups = self.groups[records]
        same: npt.NDArray[np.bool_] = groups[:count, None] == groups[None]
        np.fill_diagonal(same, val=False)
        return same

    def _runs_of(self, pair: int) -> Numbers:
        """The runs of words of a passage as hashes, each once, in order."""
        group = int(self.groups[pair])
        if group not in self._runs:
            words = np.array([hash(word) for word in _WORD.findall(self._pairs[group].passage.lower())], np.int64)
            count = max(1, len(words) - _RUN + 1)
            runs = np.zeros(count, np.int64)
            for place in range(min(_RUN, len(words))):
                runs = runs * _MULTIPLIER + words[place : place + count]
            self._runs[group] = np.unique(runs)
        return self._runs[group]


class WordMiner:
    """The passages that BM25 ranks highest for a pair's hardest query, found when they are first asked for.

    Args:
        pairs: The pairs.
        same: Which of their passages say the same.
        pool: How many to keep of each.
    """

    def __init__(self, pairs: Sequence[Pair], same: SameText, pool: int) -> None:
        self._pairs, self._same, self._pool = pairs, same, pool
        self._index = BM25Index([pair.passage for pair in pairs])
        self._found: dict[int, list[int]] = {}

    def __call__(self, pair: int, step: int) -> Sequence[int]:
        """Numbers of the hard passages, hardest first; fewer than the pool, or none, where few share a word."""
        del step  # words stay what they are
        if pair not in self._found:
            ranked = self._index.best(self._pairs[pair].queries[0], 2 * self._pool)
            self._found[pair] = self._same.without(pair, ranked, self._pool)
        return self._found[pair]


class ModelMiner:
    """The passages that a model finds nearest to a pair's hardest query, looked for anew every so many steps.

    What was found is kept on disk, so that a run which goes on after a kill has the same wrong answers.

    Args:
        embed: Unit vectors of the queries and of the passages with these numbers, by the model as it is.
        num_pairs: Number of pairs, N.
        same: Which of their passages say the same.
        settings: How many and how often.
        folder: Where to keep what was found.
        seed: Decides the passages it looks among.
    """

    def __init__(
        self,
        embed: Callable[[Numbers], tuple[Vectors, Vectors]],
        num_pairs: int,
        same: SameText,
        settings: MiningSettings,
        folder: Path,
        seed: int,
    ) -> None:
        self._embed, self._num_pairs, self._same, self._settings = embed, num_pairs, same, settings
        self._folder, self._seed = folder, seed
        self._mined_at, self._nearest = -1, np.zeros((0, 0), np.int64)
        self._kept: dict[int, list[int]] = {}

    def __call__(self, pair: int, step: int) -> Sequence[int]:
        """Numbers of the hard passages, hardest first."""
        self._mine(step // self._settings.every)
        if pair not in self._kept:
            self._kept[pair] = self._same.without(pair, self._nearest[pair], self._settings.pool)
        return self._kept[pair]

    def _mine(self, round_: int) -> None:
        if round_ == self._mined_at:
            return
        file = self._folder / f"negatives-{round_}.npy"
        if file.exists():
            self._nearest = np.load(file).astype(np.int64)
        else:
            self._nearest = self._look(round_)
            np.save(file.with_suffix(".partial.npy"), self._nearest.astype(np.int32))
            write_atomically(file, file.with_suffix(".partial.npy").read_bytes())
        self._mined_at = round_
        self._kept.clear()

    def _look(self, round_: int) -> Numbers:
        rng = np.random.default_rng((self._seed, round_))
        among = np.sort(rng.permutation(self._num_pairs)[: self._settings.among])
        queries, passages = self._embed(among)
        return among[nearest(queries, passages, 2 * self._settings.pool)]


def nearest(queries: Vectors, passages: Vectors, count: int) -> Numbers:
    """Numbers ``(Q, count)`` of the passages with the highest cosines, highest first; all there are if fewer."""
    count = min(count, len(passages))
    found = np.empty((len(queries), count), np.int64)
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        scores = queries[start : start + _QUERIES_AT_ONCE] @ passages.T
        best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        found[start : start + _QUERIES_AT_ONCE] = np.take_along_axis(best, order, axis=1)
    return found


def rivals_from(
    miners: Sequence[Callable[[int, int], Sequence[int]]], num_pairs: int, same: SameText, count: int
) -> Rivals:
    """Draw `count` wrong answers for a pair, from every miner the same share.

    Where miners find too few, other passages take the places: every pair of a batch has as many.

    Args:
        miners: From a pair and a step to numbers of hard passages.
        num_pairs: Number of pairs, N.
        same: Which of their passages say the same.
        count: How many to draw.
    """

    def draw(pair: int, step: int, rng: np.random.Generator) -> Sequence[int]:
        drawn: dict[int, None] = {}
        for position, miner in enumerate(miners):
            share = count * (position + 1) // len(miners)
            for place in rng.permutation(len(found := miner(pair, step))):
                if len(drawn) >= share:
                    break
                drawn[found[int(place)]] = None
        # Of a handful of pairs that all say the same, one is taken all the same; the loss leaves equal texts out.
        for other in (int(number) for number in rng.integers(num_pairs, size=20 * count)):
            if len(drawn) >= count:
                break
            if not same(pair, other):
                drawn[other] = None
        return [*drawn, *[pair] * (count - len(drawn))]

    return draw
