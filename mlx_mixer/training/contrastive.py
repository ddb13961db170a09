r"""Contrastive losses: every query picks its passage among others.

With unit vectors :math:`q_i, p_j` of B pairs, passages beyond the B-th being wrong answers for every query, and
:math:`s_{ij} = q_i \cdot p_j / \tau`,

.. math:: \mathcal L = \frac{1}{2B} \sum_i \left( \log \sum_j e^{s_{ij}} + \log \sum_{j \le B} e^{s_{ji}} - 2 s_{ii}
    \right)

is `info_nce`: https://arxiv.org/abs/1807.03748, in both directions as in https://arxiv.org/abs/2103.00020. The
masked-mixer paper (https://arxiv.org/abs/2409.01482) trains on one query :math:`u_0` against its passage :math:`u_m`
and the other rows of a small batch,

.. math:: \mathcal L = -\log \frac{e^{\cos(u_0, u_m) / \tau}}{\sum_{i \ge 1} e^{\cos(u_0, u_i) / \tau}}, \quad \tau =
    0.02

which is `one_positive`, for every query of a batch in turn.
"""

from collections.abc import Callable, Sequence

import mlx.core as mx
from mlx import nn

from mlx_mixer.layers.pooling import ContextualPooling, StaticPooling, TokenWeightedPooling
from mlx_mixer.models.language import LanguageMixer

# Keeps the length of an all-zero sum from dividing by 0.
_EPS = 1e-12
# Of a score that does not count; finite, so that its gradient is 0 and not a number that is none.
_NO_SCORE = -1e9


def info_nce(queries: mx.array, passages: mx.array, temperature: float, excluded: mx.array | None = None) -> mx.array:
    """The first loss above.

    Args:
        queries: ``(B, D)`` unit vectors.
        passages: ``(P, D)`` unit vectors, P at least B; row i answers query i and no other.
        temperature: Divides the cosines; smaller looks harder at the closest wrong answers.
        excluded: ``(B, P)``, true where a passage is no wrong answer to a query although it is not row i, because it
            says the same.

    Returns:
        A float32 scalar in nats; ``log B`` when all vectors are alike and P is B.
    """
    scores = _scores(queries, passages, temperature, excluded)
    among_pairs = scores[:, : queries.shape[0]]
    right = mx.diag(among_pairs)
    by_query = mx.logsumexp(scores, axis=1) - right
    by_passage = mx.logsumexp(among_pairs, axis=0) - right
    return (by_query.mean() + by_passage.mean()) / 2


def one_positive(
    queries: mx.array, passages: mx.array, temperature: float, rows: int, excluded: mx.array | None = None
) -> mx.array:
    """The second loss above, averaged over the queries of a batch.

    Pairs are taken `rows` at a time, in order: a query sees the passages of its own group and the wrong answers that
    were brought for them, no other.

    Args:
        queries: ``(B, D)`` unit vectors.
        passages: ``(P, D)`` unit vectors, P a multiple of B; row i answers query i, and rows
            ``B + i * n ... B + (i + 1) * n - 1`` with ``n = P / B - 1`` are the wrong answers brought for it.
        temperature: Divides the cosines.
        rows: Pairs of a group.
        excluded: As for `info_nce`.

    Returns:
        A float32 scalar in nats.
    """
    scores = _scores(queries, passages, temperature, excluded)
    count, brought = queries.shape[0], passages.shape[0] // queries.shape[0] - 1
    pair = mx.arange(count)
    owner = mx.concatenate([pair, mx.repeat(pair, brought)]) if brought else pair
    elsewhere = pair[:, None] // rows != owner[None] // rows
    scores = mx.where(elsewhere, _NO_SCORE, scores)
    return (mx.logsumexp(scores, axis=1) - mx.diag(scores[:, :count])).mean()


def nested(
    loss: Callable[[mx.array, mx.array], mx.array], queries: mx.array, passages: mx.array, sizes: Sequence[int]
) -> mx.array:
    """Mean of a loss over the first values of the vectors and over the whole of them.

    Source: https://arxiv.org/abs/2205.13147 (Matryoshka representation learning), with equal weights.

    Args:
        loss: Of unit vectors.
        queries: ``(B, D)``.
        passages: ``(P, D)``.
        sizes: How many of the first values, each below D; the whole vectors count whatever is given here.

    Returns:
        A float32 scalar in nats.
    """
    total = loss(queries, passages)
    for size in sizes:
        total = total + loss(_unit(queries[:, :size]), _unit(passages[:, :size]))
    return total / (len(sizes) + 1)


def bag_embeddings(model: LanguageMixer, counts: mx.array) -> mx.array:
    """Embeddings by the vectors of tokens and words alone, as if every layer gate but the first were 0.

    A pooled bag of words is linear in the counts, so a batch of any lengths is one matrix product.

    Args:
        model: A model with "token_weighted" or "static" pooling.
        counts: ``(B, V)`` float32; see `mlx_mixer.training.token_counts.token_counter`.

    Returns:
        ``(B, D)`` unit vectors (shorter where a text has no words, and the model vectors of those).
    """
    table = model.pooling.table if isinstance(model.pooling, StaticPooling) else model.embed_tokens
    of_tokens = counts[:, : model.config.vocab_size] @ _weighted(table, model.pooling.token_weight)
    if "word_pooling" not in model:
        return _unit(of_tokens)
    words = model.word_pooling
    of_words = counts[:, model.config.vocab_size :] @ _weighted(words.table, words.token_weight)
    return mx.concatenate([_unit(of_tokens), _unit(of_words)], axis=1) * 0.5**0.5


def _weighted(table: nn.Embedding, weight: mx.array) -> mx.array:
    return nn.softplus(weight)[:, None] * table.weight


def text_embeddings(model: LanguageMixer, ids: mx.array, lengths: mx.array, texts: mx.array, count: int) -> mx.array:
    """Embeddings through the blocks, as `mlx_mixer.embedding` computes them, with gradients.

    Args:
        model: A model with "token_weighted" or "contextual" pooling.
        ids: ``(W, L)`` windows of ids, filled up on the right.
        lengths: ``(W,)`` real tokens of each window.
        texts: ``(W,)`` which text a window is part of.
        count: Number of texts, N.

    Returns:
        ``(N, D)`` unit vectors.
    """
    return embeddings_of_sums(window_sums(model, ids, lengths), texts, count)


def window_sums(model: LanguageMixer, ids: mx.array, lengths: mx.array) -> mx.array:
    """What each window adds to the embedding of its text, ``(W, D)``, not normalised; see `text_embeddings`."""
    is_real = mx.arange(ids.shape[1])[None] < lengths[:, None]
    if isinstance(model.pooling, ContextualPooling):
        return model.pooling(ids, is_real)
    assert isinstance(model.pooling, TokenWeightedPooling)
    sums, _ = model.pooling(model.residual_states(ids), ids, is_real)
    return sums


def embeddings_of_sums(sums: mx.array, texts: mx.array, count: int) -> mx.array:
    """Unit vectors ``(N, D)`` of texts from the ``(W, D)`` sums of their windows; see `text_embeddings`."""
    return _unit(mx.zeros((count, sums.shape[1])).at[texts].add(sums))


def _scores(queries: mx.array, passages: mx.array, temperature: float, excluded: mx.array | None) -> mx.array:
    scores = queries @ passages.T / temperature
    return scores if excluded is None else mx.where(excluded, _NO_SCORE, scores)


def _unit(vectors: mx.array) -> mx.array:
    return vectors * mx.rsqrt((vectors * vectors).sum(axis=1, keepdims=True) + _EPS)
