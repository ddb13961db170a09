"""The bidirectional ("double") mixer: two streams that read a text from both ends."""

import mlx.core as mx
from mlx import nn

from mlx_mixer.layers.channel_mixing import ChannelMixing
from mlx_mixer.layers.token_mixing import FlatTokenMixing
from mlx_mixer.layers.whole_window import ReverseTokenMixing
from mlx_mixer.model_configs.bidirectional import BidirectionalMixerConfig
from mlx_mixer.models.token_loss import mean_token_loss


class BidirectionalBlock(nn.Module):
    r"""One block of both streams, which share the channel mixing.

    Computes :math:`x \leftarrow x + \mathrm{tril}(C_f)\,\mathrm{LN}_f(x) + b_f` (positions :math:`s \le t`) and
    :math:`y \leftarrow y + \mathrm{triu}_2(C_r)\,\mathrm{LN}_r(y) + b_r` (positions :math:`s \ge t + 2`), then adds
    :math:`\mathrm{ChannelMixing}(\mathrm{LN}(\cdot))` to each.

    Shape:
        - Input and output: two streams ``(B, L, D)``; the reverse one may be left out.
    """

    def __init__(self, config: BidirectionalMixerConfig) -> None:
        super().__init__()
        self.forward_norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.forward_mixing = FlatTokenMixing(config.context_length)
        self.reverse_norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.reverse_mixing = ReverseTokenMixing(config.context_length)
        self.channel_norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.channel_mixing = ChannelMixing(config.hidden_size, config.intermediate_size)

    def forward(self, x: mx.array) -> mx.array:
        """The block of the stream that reads what comes before."""
        x = x + self.forward_mixing(self.forward_norm(x))
        return x + self.channel_mixing(self.channel_norm(x))

    def reverse(self, y: mx.array) -> mx.array:
        """The block of the stream that reads what comes after the next token."""
        y = y + self.reverse_mixing(self.reverse_norm(y))
        return y + self.channel_mixing(self.channel_norm(y))


class BidirectionalMixer(nn.Module):
    r"""Predicts each token from everything before it and everything after it.

    Both streams start as :math:`E[\mathrm{ids}]` and never meet before the head: :math:`\mathrm{logits} = (x + y)
    U^\top`. The logit at position t predicts token t + 1, which neither stream at t has seen. Texts shorter than the
    context are read as if nothing followed; the model was trained on full windows.

    Source: https://arxiv.org/abs/2409.01482 and the author's bidirectional mixers.

    Args:
        config: Sizes.

    Shape:
        - Input: ``(B, L)`` integer ids, with ``L <= context_length``.
        - Output: ``(B, L, V)`` logits.

    Raises:
        ValueError: If the ids do not fit the context.
    """

    def __init__(self, config: BidirectionalMixerConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = [BidirectionalBlock(config) for _ in range(config.num_layers)]
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def __call__(self, ids: mx.array, *, forward_only: bool = False) -> mx.array:
        hidden = self.hidden_states(ids, forward_only=forward_only)
        return self.embed_tokens.as_linear(hidden) if self.config.tie_word_embeddings else self.lm_head(hidden)

    def hidden_states(self, ids: mx.array, *, forward_only: bool = False) -> mx.array:
        """What the output head sees, ``(B, L, D)``: both streams together, or the forward one alone.

        Args:
            ids: ``(B, L)`` token ids.
            forward_only: Leave out what follows; the result is then causal, as for writing.
        """
        return self.forward_states(ids) if forward_only else self.forward_states(ids) + self.reverse_states(ids)

    def forward_states(self, ids: mx.array) -> mx.array:
        """The stream that reads what comes before, ``(B, L, D)``."""
        x = self._token_vectors(ids)
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def reverse_states(self, ids: mx.array) -> mx.array:
        """The stream that reads what comes after the next token, ``(B, L, D)``."""
        y = self._token_vectors(ids)
        for layer in self.layers:
            y = layer.reverse(y)
        return y

    def _token_vectors(self, ids: mx.array) -> mx.array:
        if ids.shape[1] > self.config.context_length:
            raise ValueError(
                f"{ids.shape[1]} tokens do not fit a context of {self.config.context_length}; shorten the text"
            )
        return self.embed_tokens(ids)


def both_sides_loss(model: BidirectionalMixer, ids: mx.array, labels: mx.array | None = None) -> mx.array:
    """Mean cross-entropy of the logit at position t against the label at t + 1, as of a language mixer.

    Args:
        model: The model.
        ids: ``(B, L)`` token ids.
        labels: ``(B, L)`` targets, -100 where none is counted; the ids themselves if omitted.

    Returns:
        A float32 scalar in nats; 0 if no target counts.
    """
    return mean_token_loss(model(ids)[:, :-1], (ids if labels is None else labels)[:, 1:])
