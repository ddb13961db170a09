"""Ids of tokens and of words in one sequence, for models that have vectors of both.

The numbers of words come after those of tokens. Both stand about where they are in the text, so that a span cut out of
the sequence holds what a span of the text does.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.training.pair_batches import Ids
from mlx_mixer.training.tokenizer import Encode
from mlx_mixer.word_tokenizer import WordTokenizer


def both_views(encode: Encode, words: WordTokenizer, first: int) -> Encode:
    """Encode texts as tokens and words.

    Args:
        encode: Makes tokens.
        words: Makes words.
        first: Number of the first word; that of tokens.
    """

    def encode_both(texts: Sequence[str]) -> list[list[int]]:
        return [_merged(tokens, found, first) for tokens, found in zip(encode(texts), words.encode(texts), strict=True)]

    return encode_both


def _merged(tokens: list[int], words: list[int], first: int) -> list[int]:
    ids = np.concatenate([np.asarray(tokens, np.int64), np.asarray(words, np.int64) + first])
    places = np.concatenate([(np.arange(count) + 0.5) / max(count, 1) for count in (len(tokens), len(words))])
    return [int(number) for number in ids[np.argsort(places, kind="stable")]]


def view_bounds(config: LanguageMixerConfig) -> list[int]:
    """The first id of each view, and the one after the last."""
    if config.word_embedding_size is None or config.word_vocab_size is None:
        # One view: tokens, or words in their place.
        return [0, config.embedding_vocab_size]
    return [0, config.vocab_size, config.vocab_size + config.word_vocab_size]


def of_view(text: Ids, first: int, stop: int) -> Ids:
    """The ids from `first` to `stop` of a sequence, in order."""
    return text[(text >= first) & (text < stop)]


def root_counts(texts: Sequence[Ids], bounds: Sequence[int], context_length: int) -> npt.NDArray[np.float32]:
    """The square root of how often each id occurs in a window of its view, summed over each text's windows.

    Args:
        texts: Ids of B texts.
        bounds: See `view_bounds`.
        context_length: Ids of a window.

    Returns:
        ``(B, bounds[-1])`` float32.
    """
    counts = np.zeros((len(texts), bounds[-1]), np.float32)
    for row, text in zip(counts, texts, strict=True):
        for first, stop in pairwise(bounds):
            view = text if len(bounds) == 2 else of_view(text, first, stop)
            for start in range(0, len(view), context_length):
                ids, times = np.unique(view[start : start + context_length], return_counts=True)
                row[ids] += np.sqrt(times)
    return counts


def loss_by_parts(
    loss: Callable[..., mx.array], sizes: Sequence[int], learned: Sequence[int]
) -> Callable[..., mx.array]:
    """The mean of a loss over parts of vectors, each of which is to find alone.

    With one loss for the whole, what one part finds the other does not learn, and both together find less
    (`docs/default_model.md` has the figures).

    Args:
        loss: Of unit vectors ``(B, D)`` and ``(P, D)``, and whatever else it is given.
        sizes: Lengths of the parts.
        learned: Numbers of the parts that count.

    Returns:
        A loss of the whole vectors, whose parts are of equal length.
    """
    if len(sizes) == 1:
        return loss
    ends = np.cumsum(sizes).tolist()
    scale = len(sizes) ** 0.5

    def of_parts(queries: mx.array, passages: mx.array, *targets: mx.array) -> mx.array:
        spans = [slice(ends[part] - sizes[part], ends[part]) for part in learned]
        losses = [loss(scale * queries[:, span], scale * passages[:, span], *targets) for span in spans]
        return mx.stack(losses).mean()

    return of_parts
