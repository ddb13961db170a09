r"""InfoNCE: every query picks its passage among all passages of the batch, and every passage its query.

With unit vectors :math:`q_i, p_i` of B pairs and :math:`s_{ij} = q_i \cdot p_j / \tau`,

.. math:: \mathcal L = \frac{1}{2B} \sum_i \left( \log \sum_j e^{s_{ij}} + \log \sum_j e^{s_{ji}} - 2 s_{ii} \right)

Source: https://arxiv.org/abs/1807.03748 (InfoNCE), in both directions as in https://arxiv.org/abs/2103.00020. The
masked-mixer paper (https://arxiv.org/abs/2409.01482) trains on one query against the rows of a small batch,
:math:`-\log \left( e^{\cos(u_0,u_m)/\tau} / \sum_{i \ge 1} e^{\cos(u_0,u_i)/\tau} \right)` with :math:`\tau =
0.02`: the first of the two directions, for one query.
"""

import mlx.core as mx
from mlx import nn

from mlx_mixer.models.language import LanguageMixer

# Keeps the length of an all-zero sum from dividing by 0.
_EPS = 1e-12


def info_nce(queries: mx.array, passages: mx.array, temperature: float) -> mx.array:
    """The loss above.

    Args:
        queries: ``(B, D)`` unit vectors.
        passages: ``(B, D)`` unit vectors; row i answers query i and no other.
        temperature: Divides the cosines; smaller looks harder at the closest wrong answers.

    Returns:
        A float32 scalar in nats; ``log B`` when all vectors are alike.
    """
    scores = queries @ passages.T / temperature
    right = mx.diag(scores)
    by_query = mx.logsumexp(scores, axis=1) - right
    by_passage = mx.logsumexp(scores, axis=0) - right
    return (by_query.mean() + by_passage.mean()) / 2


def bag_embeddings(model: LanguageMixer, counts: mx.array) -> mx.array:
    """Embeddings by the token vectors alone, as if every layer gate but the first were 0.

    A pooled bag of words is linear in the token counts, so a batch of any lengths is one matrix product.

    Args:
        model: A model with "token_weighted" pooling.
        counts: ``(B, V)`` float32, how often each token id occurs in each text.

    Returns:
        ``(B, D)`` unit vectors.
    """
    weights = nn.softplus(model.pooling.token_weight)
    return _unit(counts @ (weights[:, None] * model.embed_tokens.weight))


def text_embeddings(model: LanguageMixer, ids: mx.array, lengths: mx.array, texts: mx.array, count: int) -> mx.array:
    """Embeddings through the blocks, as `mlx_mixer.embedding` computes them, with gradients.

    Args:
        model: A model with "token_weighted" pooling.
        ids: ``(W, L)`` windows of tokens, filled up on the right.
        lengths: ``(W,)`` real tokens of each window.
        texts: ``(W,)`` which text a window is part of.
        count: Number of texts, N.

    Returns:
        ``(N, D)`` unit vectors.
    """
    is_real = mx.arange(ids.shape[1])[None] < lengths[:, None]
    sums, _ = model.pooling(model.residual_states(ids), ids, is_real)
    return _unit(mx.zeros((count, sums.shape[1])).at[texts].add(sums))


def _unit(vectors: mx.array) -> mx.array:
    return vectors * mx.rsqrt((vectors * vectors).sum(axis=1, keepdims=True) + _EPS)
