"""Embeddings of many token lists without gradients, for validation during a run."""

from collections.abc import Sequence

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.training.contrastive import bag_embeddings, text_embeddings
from mlx_mixer.training.pair_batches import Ids, count_tokens, windows_of

_TEXTS_AT_ONCE = 256


def embed_bags(model: LanguageMixer, texts: Sequence[Ids]) -> npt.NDArray[np.float32]:
    """Bag-of-words embeddings, ``(N, D)``; see `contrastive.bag_embeddings`."""
    vocab_size = model.config.vocab_size
    chunks = (mx.array(count_tokens(chunk, vocab_size)) for chunk in _chunks(texts))
    return np.concatenate([np.array(bag_embeddings(model, counts)) for counts in chunks])


def embed_windows(model: LanguageMixer, texts: Sequence[Ids]) -> npt.NDArray[np.float32]:
    """Embeddings through the blocks, ``(N, D)``; see `contrastive.text_embeddings`."""
    found = []
    for chunk in _chunks(texts):
        ids, lengths, owners = (mx.array(array) for array in windows_of(chunk, model.config.context_length))
        found.append(np.array(text_embeddings(model, ids, lengths, owners, len(chunk))))
    return np.concatenate(found)


def _chunks(texts: Sequence[Ids]) -> list[Sequence[Ids]]:
    return [texts[start : start + _TEXTS_AT_ONCE] for start in range(0, len(texts), _TEXTS_AT_ONCE)]
