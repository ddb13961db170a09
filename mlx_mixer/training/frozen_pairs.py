"""Pairs as embeddings that stay as they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlx_mixer.embedding import Embedder
from mlx_mixer.training.data import Pair
from mlx_mixer.training.hard_negatives import Numbers, SameText, Vectors


@dataclass(frozen=True)
class FrozenPairs:
    """Unit vectors of pairs.

    Attributes:
        passages: ``(N, D)`` float32.
        queries: ``(M, D)`` float32, those of all pairs in order.
        first_query: ``(N,)`` number of each pair's first query.
        same: Which passages say the same.
    """

    passages: Vectors
    queries: Vectors
    first_query: Numbers
    same: SameText

    def __len__(self) -> int:
        return len(self.passages)


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
    return FrozenPairs(*vectors, np.cumsum(ways) - ways, SameText(pairs))
