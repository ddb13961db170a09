"""Embeddings of many token lists without gradients, for validation during a run."""

from collections.abc import Sequence

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.training.contrastive import bag_embeddings, window_sums
from mlx_mixer.training.pair_batches import Ids, chunks_of
from mlx_mixer.training.token_counts import token_counter
from mlx_mixer.training.unit_rows import unit_rows

_TEXTS_AT_ONCE = 256
_TOKENS_AT_ONCE = 8192


def embed_bags(model: LanguageMixer, texts: Sequence[Ids]) -> npt.NDArray[np.float32]:
    """Bag-of-words embeddings, ``(N, D)``; see `contrastive.bag_embeddings`."""
    count = token_counter(model.config)
    chunks = (mx.array(count(chunk)) for chunk in _chunks(texts))
    return np.concatenate([np.array(bag_embeddings(model, counts)) for counts in chunks])


def embed_windows(model: LanguageMixer, texts: Sequence[Ids]) -> npt.NDArray[np.float32]:
    """Embeddings through the blocks, ``(N, D)``; see `contrastive.text_embeddings`."""
    sums = np.zeros((len(texts), model.config.embedding_dims), np.float32)
    for chunk in chunks_of(texts, model.config.context_length, _TOKENS_AT_ONCE):
        found = window_sums(model, mx.array(chunk.ids), mx.array(chunk.lengths))
        np.add.at(sums, chunk.texts, np.array(found.astype(mx.float32)))
    return unit_rows(sums)


def _chunks(texts: Sequence[Ids]) -> list[Sequence[Ids]]:
    return [texts[start : start + _TEXTS_AT_ONCE] for start in range(0, len(texts), _TEXTS_AT_ONCE)]
