"""How texts are counted for models whose embeddings are bags of tokens, or of tokens and words."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.training.pair_batches import Ids
from mlx_mixer.training.two_views import root_counts, view_bounds

# Texts to (B, V) float32: how much each id counts in each of them.
CountTokens = Callable[[Sequence[Ids]], npt.NDArray[np.float32]]


def token_counter(config: LanguageMixerConfig) -> CountTokens:
    """How a model whose embeddings are bags of words counts the ids of texts; see `mlx_mixer.layers.pooling`."""
    if config.pooling == "static":
        return partial(root_counts, bounds=view_bounds(config), context_length=config.context_length)
    return partial(count_tokens, vocab_size=config.vocab_size)


def count_tokens(texts: Sequence[Ids], vocab_size: int) -> npt.NDArray[np.float32]:
    """How often each token occurs in each text, ``(B, V)`` float32."""
    return np.stack([np.bincount(text, minlength=vocab_size).astype(np.float32) for text in texts])
