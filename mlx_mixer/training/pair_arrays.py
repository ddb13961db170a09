"""Batches of pairs as arrays, and the gradients of a loss of their embeddings.

There are two ways to the embeddings: as bags of words, one matrix product for a batch, and through the blocks, in
chunks of windows with gradient caching.
"""

from collections.abc import Callable
from typing import Any

import mlx.core as mx
from mlx import nn

from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.training.contrastive import bag_embeddings, embeddings_of_sums, window_sums
from mlx_mixer.training.distillation import Teacher
from mlx_mixer.training.grad_cache import CachedGradients
from mlx_mixer.training.hard_negatives import SameText
from mlx_mixer.training.loop import Batch, Gradients
from mlx_mixer.training.pair_batches import DrawnPairs, chunks_of
from mlx_mixer.training.ranks import ALONE, Ranks
from mlx_mixer.training.token_counts import CountTokens

Draw = Callable[[int], DrawnPairs]
BatchAt = Callable[[int], tuple[Batch, int]]
# Of queries (B, D), passages (P, D) and the targets below.
EmbeddingLoss = Callable[..., mx.array]
_ARRAYS_OF_A_CHUNK = 3


class Targets:
    """What a loss needs to know about a batch beside its embeddings.

    Args:
        same: Which passages say the same.
        teacher: Whose scores to add.
    """

    def __init__(self, same: SameText, teacher: Teacher | None) -> None:
        self._same, self._teacher = same, teacher
        self.count = 1 if teacher is None else 3

    def __call__(self, drawn: DrawnPairs) -> list[mx.array]:
        """``(B, P)`` which passages are no wrong answers; of a teacher, ``(B, P)`` scores and which it knows."""
        excluded = mx.array(self._same.excluded(drawn.records, len(drawn.queries)))
        return [excluded, *(mx.array(array) for array in (self._teacher.judge(drawn) if self._teacher else ()))]


def bag_batches(draw: Draw, targets: Targets, count: CountTokens) -> BatchAt:
    """Batches of token counts by step: queries ``(B, V)``, passages ``(P, V)`` and the targets."""

    def batch_at(step: int) -> tuple[Batch, int]:
        drawn = draw(step)
        counts = [mx.array(count(side)) for side in (drawn.queries, drawn.passages)]
        return [*counts, *targets(drawn)], _num_tokens(drawn)

    return batch_at


def bag_loss(loss: EmbeddingLoss) -> EmbeddingLoss:
    """The loss of a model and a batch of `bag_batches`."""

    def of_batch(model: LanguageMixer, queries: mx.array, passages: mx.array, *targets: mx.array) -> mx.array:
        return loss(bag_embeddings(model, queries), bag_embeddings(model, passages), *targets)

    return of_batch


def window_batches(draw: Draw, targets: Targets, context_length: int, tokens_per_chunk: int) -> BatchAt:
    """Batches for the blocks by step: the targets, then ids, lengths and texts of every chunk of windows.

    Queries are the first texts, passages those after them.
    """

    def batch_at(step: int) -> tuple[Batch, int]:
        drawn = draw(step)
        chunks = chunks_of([*drawn.queries, *drawn.passages], context_length, tokens_per_chunk)
        arrays = [mx.array(array) for chunk in chunks for array in (chunk.ids, chunk.lengths, chunk.texts)]
        return [*targets(drawn), *arrays], _num_tokens(drawn)

    return batch_at


def bag_gradients(model: LanguageMixer, loss: EmbeddingLoss, ranks: Ranks) -> Gradients:
    """Loss and gradients of a batch of `bag_batches` whose texts are shared out between processes."""

    def of_both(embeddings: mx.array, excluded: mx.array, *teacher: mx.array) -> mx.array:
        num_queries = excluded.shape[0]
        return loss(embeddings[:num_queries], embeddings[num_queries:], excluded, *teacher)

    cached = CachedGradients(model, bag_embeddings, of_both, ranks)
    return lambda _, queries, passages, *targets: cached([[queries], [passages]], targets)


def window_gradients(model: LanguageMixer, loss: EmbeddingLoss, num_targets: int, ranks: Ranks = ALONE) -> Gradients:
    """Loss and gradients of a batch of `window_batches`, without holding the activations of more than one chunk.

    Args:
        model: What is trained.
        loss: Of embeddings and targets.
        num_targets: Arrays of the targets.
        ranks: The processes that share the windows.
    """

    def of_sums(sums: mx.array, texts: mx.array, excluded: mx.array, *teacher: mx.array) -> mx.array:
        num_queries, num_passages = excluded.shape
        embeddings = embeddings_of_sums(sums, texts, num_queries + num_passages)
        return loss(embeddings[:num_queries], embeddings[num_queries:], excluded, *teacher)

    cached = CachedGradients(model, window_sums, of_sums, ranks)

    def gradients(_: nn.Module, *batch: mx.array) -> tuple[mx.array, Any]:
        targets, arrays = batch[:num_targets], batch[num_targets:]
        chunks = [arrays[start : start + _ARRAYS_OF_A_CHUNK] for start in range(0, len(arrays), _ARRAYS_OF_A_CHUNK)]
        texts = mx.concatenate([texts for _, _, texts in chunks])
        return cached([(ids, lengths) for ids, lengths, _ in chunks], [texts, *targets])

    return gradients


def _num_tokens(drawn: DrawnPairs) -> int:
    return sum(map(len, drawn.queries)) + sum(map(len, drawn.passages))
