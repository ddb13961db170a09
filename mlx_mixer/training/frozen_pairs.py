"""Pairs as embeddings that stay as they are, and lists of candidates drawn from them.

A list has one query, its passage at a random place, and wrong answers: some at random, the rest among those that lie
nearest to the query and are therefore what a search puts beside the right one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mlx_mixer.embedding import Embedder
from mlx_mixer.errors import MixerError
from mlx_mixer.training.data import Pair
from mlx_mixer.training.hard_negatives import Numbers, SameText, Vectors, nearest

# Wrong answers are drawn from this many of the nearest passages.
POOL = 50
# How often another passage is tried for each that is missing.
_TRIES = 20
# Passages looked at beyond those that are kept, for those that say the same.
_SPARE = 20
_NONE = np.zeros(0, np.int64)


@dataclass
class FrozenPairs:
    """Unit vectors of pairs.

    Attributes:
        passages: ``(N, D)`` float32.
        queries: ``(M, D)`` float32, those of all pairs in order.
        first_query: ``(N,)`` number of each pair's first query.
        ways: ``(N,)`` queries of each pair.
        same: Which passages say the same.
    """

    passages: Vectors
    queries: Vectors
    first_query: Numbers
    ways: Numbers
    same: SameText
    _near: dict[int, Numbers] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.passages)

    def near(self, pairs: Numbers) -> list[Numbers]:
        """For each pair the wrong answers that lie nearest to its hardest query, nearest first; at most `POOL`."""
        unknown = [int(pair) for pair in pairs if int(pair) not in self._near]
        if unknown:
            found = nearest(self.queries[self.first_query[unknown]], self.passages, POOL + _SPARE)
            for pair, ranked in zip(unknown, found, strict=True):
                self._near[pair] = np.array(self.same.without(pair, ranked, POOL), np.int64)
        return [self._near[int(pair)] for pair in pairs]


def embed_pairs(pairs: Sequence[Pair], embedder: Embedder, kept: Path | None = None) -> FrozenPairs:
    """Embed pairs once.

    Args:
        pairs: What to embed.
        embedder: With what.
        kept: File to keep the vectors in, and to take them from if it is there. They are rounded to float16, as those
            of a library are.
    """
    if kept is not None and kept.exists():
        with np.load(kept) as found:
            passages, queries = found["passages"], found["queries"]
    else:
        passages = embedder.embed([pair.passage for pair in pairs]).astype(np.float16)
        queries = embedder.embed([query for pair in pairs for query in pair.queries], "query").astype(np.float16)
        if kept is not None:
            partial = kept.with_suffix(".partial.npz")
            np.savez(partial, passages=passages, queries=queries)
            partial.replace(kept)
    ways = np.array([len(pair.queries) for pair in pairs], np.int64)
    vectors = passages.astype(np.float32), queries.astype(np.float32)
    return FrozenPairs(*vectors, np.cumsum(ways) - ways, ways, SameText(pairs))


def draw_candidates(
    pairs: FrozenPairs, chosen: Numbers, rows: int, hard_share: float, rng: np.random.Generator
) -> tuple[Numbers, Numbers]:
    """Draw a list of candidates for each of some pairs.

    Args:
        pairs: What to draw from.
        chosen: ``(B,)`` pairs whose queries are asked.
        rows: Rows of a list, the query's included; at least 3.
        hard_share: Share of the wrong answers that are among the nearest.
        rng: Decides.

    Returns:
        ``(B, rows - 1)`` pairs whose passages are the candidates, and ``(B,)`` the place of the right one.

    Raises:
        MixerError: If every passage says the same.
    """
    candidates = np.empty((len(chosen), rows - 1), np.int64)
    places = rng.integers(rows - 1, size=len(chosen))
    num_hard = round(hard_share * (rows - 2))
    near = pairs.near(chosen) if num_hard else []
    for row, pair in enumerate(map(int, chosen)):
        wrong = _wrong_answers(pairs, pair, near[row] if num_hard else _NONE, rows - 2, num_hard, rng)
        candidates[row] = np.insert(wrong, places[row], pair)
    return candidates, places


def _wrong_answers(
    pairs: FrozenPairs, pair: int, near: Numbers, count: int, num_hard: int, rng: np.random.Generator
) -> Numbers:
    drawn = dict.fromkeys(int(other) for other in rng.permutation(near)[:num_hard])
    for other in map(int, rng.integers(len(pairs), size=_TRIES * count)):
        if len(drawn) >= count:
            break
        if not pairs.same(pair, other):
            drawn[other] = None
    if not drawn:
        raise MixerError("there is no passage that says something else; a re-ranker needs more pairs than these")
    # Of a handful of pairs the same ones stand there more than once.
    return rng.permutation(np.resize(np.array([*drawn], np.int64), count))


def rows_of(pairs: FrozenPairs, queries: Numbers, candidates: Numbers) -> Vectors:
    """What a retrieval mixer sees: ``(B, rows, D)``, the query first.

    Args:
        pairs: The vectors.
        queries: ``(B,)`` numbers among all queries.
        candidates: ``(B, rows - 1)`` pairs.
    """
    return np.concatenate([pairs.queries[queries][:, None], pairs.passages[candidates]], axis=1)
