"""The retrieval mixer: a re-ranker that sees the embeddings of a query and of all candidates at once."""

import mlx.core as mx
from mlx import nn

from mlx_mixer.layers.channel_mixing import ChannelMixing
from mlx_mixer.layers.whole_window import UnmaskedTokenMixing
from mlx_mixer.model_configs.retrieval import RetrievalMixerConfig


class RetrievalBlock(nn.Module):
    r"""The block of a masked mixer without a mask.

    Computes :math:`x \leftarrow x + \mathrm{TokenMixing}(\mathrm{LN}(x))`, then :math:`x \leftarrow x +
    \mathrm{ChannelMixing}(\mathrm{LN}(x))`.

    Shape:
        - Input and output: ``(B, m, D)``.
    """

    def __init__(self, config: RetrievalMixerConfig) -> None:
        super().__init__()
        self.token_norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.token_mixing = UnmaskedTokenMixing(config.context_length)
        self.channel_norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.channel_mixing = ChannelMixing(config.hidden_size, config.intermediate_size)

    def __call__(self, x: mx.array) -> mx.array:
        x = x + self.token_mixing(self.token_norm(x))
        return x + self.channel_mixing(self.channel_norm(x))


class RetrievalMixer(nn.Module):
    r"""Scores candidates by looking at all of them beside the query.

    Computes :math:`X_l = \mathrm{Block}_l(X_{l-1})` on rows that are embeddings, the query first, and :math:`s_i = u
    \cdot X_{n,i} + c` for every row but the query's. Rows are slots with weights of their own, so the order of
    candidates counts; with fewer than the model was trained on, the missing ones add nothing.

    Source: https://arxiv.org/abs/2409.01482, the retrieval model.

    Args:
        config: Sizes.

    Shape:
        - Input: ``(B, m, D)`` embeddings, row 0 the query, with ``2 <= m <= context_length``.
        - Output: ``(B, m - 1)`` scores of the candidates in the order given; higher answers the query better.

    Raises:
        ValueError: If there is no candidate, or there are more than the weights cover.
    """

    def __init__(self, config: RetrievalMixerConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = [RetrievalBlock(config) for _ in range(config.num_layers)]
        self.score = nn.Linear(config.hidden_size, 1)

    def __call__(self, embeddings: mx.array) -> mx.array:
        return self.score(self.hidden_states(embeddings)).squeeze(-1)[:, 1:]

    def hidden_states(self, embeddings: mx.array) -> mx.array:
        """What the scores are read from, ``(B, m, D)``."""
        rows, most = embeddings.shape[1], self.config.context_length
        if not 2 <= rows <= most:
            raise ValueError(f"{rows} rows; this model scores 1 to {most - 1} candidates after one query row")
        x = embeddings
        for layer in self.layers:
            x = layer(x)
        return x


def match_loss(model: RetrievalMixer, embeddings: mx.array, matches: mx.array) -> mx.array:
    """Mean cross-entropy of the candidates' scores against the one that answers the query.

    Args:
        model: The model.
        embeddings: ``(B, m, D)``, row 0 the query.
        matches: ``(B,)`` index of the right candidate, counted without the query row.

    Returns:
        A float32 scalar in nats.
    """
    return nn.losses.cross_entropy(model(embeddings).astype(mx.float32), matches, reduction="mean")
