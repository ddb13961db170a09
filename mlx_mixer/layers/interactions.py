"""What a query and each candidate have in common, as rows that a re-ranker mixes, and the score that it starts from."""

import mlx.core as mx
from mlx import nn

from mlx_mixer.model_configs.retrieval import RetrievalMixerConfig

# How much a cosine, or a search's score, counts at first; the temperature is learned from there.
START = 12.0
# Puts cosines and scores, from 0 to about 1, on the scale of the other inputs.
_SCORE_SCALE = 4.0


class Interactions(nn.Module):
    r"""Rows for the blocks of a re-ranker, and a prior of its scores.

    A candidate's row is :math:`W [D\,q \odot c;\ 4 \cos(q, c);\ 4 s] + b` with the score :math:`s` that a search gave
    it, where there is one; the query's row is 0, a place for what the list as a whole says. The values of unit vectors
    are about :math:`1/\sqrt{D}`, and the factors bring all inputs to about 1. Neither the candidate nor the query is
    there by itself: measured, a model that sees them learns the passages by heart and finds less among others.

    The prior is :math:`e^{t} \cos(q, c)`; with a search's scores :math:`e^{t} s + w \cos(q, c)`, and :math:`w` is 0 at
    first.

    Args:
        config: Of the re-ranker.

    Shape:
        - Input: ``(B, m, D)`` unit vectors, row 0 the query; ``(B, m - 1)`` scores if the model takes them; and in
          training ``(B, m - 1, D)`` what the products are multiplied by, to leave some out.
        - Output: ``(B, m, mixing_size)``; of `prior`, ``(B, m - 1)``.
    """

    def __init__(self, config: RetrievalMixerConfig) -> None:
        super().__init__()
        self.linear = nn.Linear(config.hidden_size + 1 + config.takes_scores, config.block_size)
        self.log_scale = mx.log(mx.array([START]))
        if config.takes_scores:
            self.cosine_scale = mx.zeros((1,))

    def __call__(self, embeddings: mx.array, scores: mx.array | None = None, kept: mx.array | None = None) -> mx.array:
        products = embeddings[:, :1] * embeddings[:, 1:]
        known = [products.sum(axis=-1, keepdims=True)] + ([] if scores is None else [scores[..., None]])
        seen = embeddings.shape[-1] * (products if kept is None else kept * products)
        rows = self.linear(mx.concatenate([seen, *(_SCORE_SCALE * each for each in known)], axis=-1))
        return mx.pad(rows, [(0, 0), (1, 0), (0, 0)])

    def prior(self, embeddings: mx.array, scores: mx.array | None = None) -> mx.array:
        """The scores before the network adds anything."""
        cosines = (embeddings[:, :1] * embeddings[:, 1:]).sum(axis=-1)
        scale = mx.exp(self.log_scale)
        return scale * cosines if scores is None else scale * scores + self.cosine_scale * cosines
