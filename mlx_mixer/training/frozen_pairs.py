"""Pairs as embeddings that stay as they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np

from mlx_mixer.embedding import Embedder
from mlx_mixer.training.data import Pair
from mlx_mixer.training.hard_negatives import Numbers, SameText, Vectors
from mlx_mixer.training.ranks import Ranks


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


def embed_pairs(pairs: Sequence[Pair], embedder: Embedder, kept: Path, ranks: Ranks) -> FrozenPairs:
    """Embed pairs once.

    Args:
        pairs: What to embed.
        embedder: With what.
        kept: File to keep the vectors in, and to take them from if it is there. They are rounded to float16, as those
            of a library are.
        ranks: The processes that need them. Each embeds its share, and all have the same; the file is the first one's.

    Raises:
        MixerError: If another process failed.
    """
    texts = {
        "passages": [pair.passage for pair in pairs],
        "queries": [query for pair in pairs for query in pair.queries],
    }
    rows = {name: np.zeros((len(side), embedder.dims), np.float16) for name, side in texts.items()}
    is_kept = ranks.share_value(kept.exists)
    with ranks.together():
        if not is_kept:
            share = slice(ranks.rank, None, ranks.size)
            rows["passages"][share] = embedder.embed(texts["passages"][share])
            rows["queries"][share] = embedder.embed(texts["queries"][share], "query")
        elif ranks.is_first:
            with np.load(kept) as found:
                rows = {name: found[name] for name in rows}
    # Every row is zero in all processes but one, so nothing is rounded.
    whole = {name: np.array(ranks.sum(mx.array(side))) for name, side in rows.items()}
    with ranks.together():
        if ranks.is_first and not is_kept:
            partial = kept.with_suffix(".partial.npz")
            np.savez(partial, passages=whole["passages"], queries=whole["queries"])
            partial.replace(kept)
    ways = np.array([len(pair.queries) for pair in pairs], np.int64)
    passages, queries = (whole[name].astype(np.float32) for name in ("passages", "queries"))
    return FrozenPairs(passages, queries, np.cumsum(ways) - ways, SameText(pairs))
