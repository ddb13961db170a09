"""The retrieval mixer: a re-ranker that sees the embeddings of a query and of all candidates at once.

The paper's rows are the embeddings themselves. Unit vectors are too short for them: their values are about 1/16 for
256 dimensions, and the first block adds sums over all rows, normalised to values of about 1, under which a candidate's
own vector drowns (measured: from 200 steps on lists of 16, top-1 is 8 % where chance is 6 %, and 96 % with the vectors
16 times as long). And they have to learn what a cosine is. Rows of interactions are free of both; see
`mlx_mixer.layers.interactions`.
"""

import mlx.core as mx
from mlx import nn

from mlx_mixer.layers.channel_mixing import ChannelMixing
from mlx_mixer.layers.interactions import Interactions
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
        self.token_norm = nn.LayerNorm(config.block_size, eps=config.norm_eps)
        self.token_mixing = UnmaskedTokenMixing(config.context_length)
        self.channel_norm = nn.LayerNorm(config.block_size, eps=config.norm_eps)
        self.channel_mixing = ChannelMixing(config.block_size, config.intermediate_size)

    def __call__(self, x: mx.array) -> mx.array:
        x = x + self.token_mixing(self.token_norm(x))
        return x + self.channel_mixing(self.channel_norm(x))


class RetrievalMixer(nn.Module):
    r"""Scores candidates by looking at all of them beside the query.

    Computes :math:`X_l = \mathrm{Block}_l(X_{l-1})`, the row of the query first, and :math:`s_i = u \cdot X_{n,i} + c`
    for every row but the query's. :math:`X_0` are the embeddings. With rows of interactions it is what
    `mlx_mixer.layers.interactions` makes of them, and to :math:`s_i` that layer's prior is added; :math:`u` and
    :math:`c` are 0 at first, so that an untrained model orders as the prior does.

    Rows are slots with weights of their own, so the order of candidates counts; with fewer than the model was trained
    on, the missing ones add nothing.

    Source: https://arxiv.org/abs/2409.01482, the retrieval model; interactions and prior are ours.

    Args:
        config: Sizes and form.

    Shape:
        - Input: ``(B, m, D)`` embeddings, row 0 the query, with ``2 <= m <= context_length``; and with `takes_scores`
          ``(B, m - 1)`` scores of the candidates by a search.
        - Output: ``(B, m - 1)`` scores of the candidates in the order given; higher answers the query better.

    Raises:
        ValueError: If there is no candidate, or there are more than the weights cover; or if scores are missing, or
            there are some that the model does not take.
    """

    def __init__(self, config: RetrievalMixerConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = [RetrievalBlock(config) for _ in range(config.num_layers)]
        self.score = nn.Linear(config.block_size, 1)
        if config.rows == "interactions":
            self.interactions = Interactions(config)
            self.score.weight = mx.zeros_like(self.score.weight)
            self.score.bias = mx.zeros_like(self.score.bias)
            for layer in self.layers:
                # Each candidate is looked at alone at first; what the others say is learned.
                layer.token_mixing.weight = mx.zeros_like(layer.token_mixing.weight)

    def __call__(
        self, embeddings: mx.array, scores: mx.array | None = None, *, kept: mx.array | None = None
    ) -> mx.array:
        found = self.score(self.hidden_states(embeddings, scores, kept=kept)).squeeze(-1)[:, 1:]
        return found + self.interactions.prior(embeddings, scores) if "interactions" in self else found

    def hidden_states(
        self, embeddings: mx.array, scores: mx.array | None = None, *, kept: mx.array | None = None
    ) -> mx.array:
        """What the scores are read from, ``(B, m, D)``; of width `mixing_size` over interactions.

        Args:
            embeddings: See the class, as for `scores`.
            scores: See the class.
            kept: For training over interactions, see there.
        """
        rows, most = embeddings.shape[1], self.config.context_length
        if not 2 <= rows <= most:
            raise ValueError(f"{rows} rows; this model scores 1 to {most - 1} candidates after one query row")
        if (scores is not None) != self.config.takes_scores:
            takes = "one score" if self.config.takes_scores else "no scores"
            raise ValueError(f"this model takes {takes} for each candidate beside the embeddings")
        x = self.interactions(embeddings, scores, kept) if "interactions" in self else embeddings
        for layer in self.layers:
            x = layer(x)
        return x


def match_loss(
    model: RetrievalMixer, embeddings: mx.array, *scores_and_matches: mx.array, kept: mx.array | None = None
) -> mx.array:
    """Mean cross-entropy of the candidates' scores against the one that answers the query.

    Args:
        model: The model.
        embeddings: ``(B, m, D)``, row 0 the query.
        scores_and_matches: For a model that takes them, ``(B, m - 1)`` scores; then ``(B,)`` the index of the right
            candidate, counted without the query row.
        kept: See `mlx_mixer.layers.interactions`.

    Returns:
        A float32 scalar in nats.
    """
    *scores, matches = scores_and_matches
    return nn.losses.cross_entropy(model(embeddings, *scores, kept=kept).astype(mx.float32), matches, reduction="mean")
