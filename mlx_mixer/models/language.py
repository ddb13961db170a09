"""The causal masked mixer: one class for every form of token mixing."""

from collections.abc import Sequence
from itertools import repeat

import mlx.core as mx
from mlx import nn

from mlx_mixer.cache import LayerCache, PassCache
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.kernels.linear import apply_linear
from mlx_mixer.layers.block import MixerBlock
from mlx_mixer.layers.pooling import ContextualPooling, StaticPooling, TokenWeightedPooling
from mlx_mixer.models.decode_step import DecodeGroup, DecodeStep
from mlx_mixer.models.token_loss import IGNORED_LABEL as IGNORED_LABEL
from mlx_mixer.models.token_loss import mean_token_loss


class LanguageMixer(nn.Module):
    r"""A language model whose positions are mixed by learned lower-triangular matrices.

    Computes :math:`X_0 = E[\mathrm{ids}]`, :math:`X_{l} = \mathrm{Block}_l(X_{l-1})`, :math:`\mathrm{logits} = X_n
    U^\top`, with no final norm.

    Source: https://arxiv.org/abs/2409.01482.

    Args:
        config: Sizes and form.

    Shape:
        - Input: ``(B, L)`` integer ids, with ``offset + L <= context_length``.
        - Output: ``(B, L, V)`` logits in the dtype of the weights; the logit at position t predicts token t + 1.

    Raises:
        ValueError: If the ids, with what the cache holds, do not fit the context.
    """

    pooling: TokenWeightedPooling | StaticPooling | ContextualPooling

    def __init__(self, config: LanguageMixerConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = [MixerBlock(config) for _ in range(config.num_layers)]
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.pooling == "token_weighted":
            self.pooling = TokenWeightedPooling(config.vocab_size, config.num_layers)
        elif config.pooling == "static":
            self.pooling = StaticPooling(config.vocab_size, config.embedding_parts[0])
        elif config.pooling == "contextual":
            self.pooling = ContextualPooling(config)
        if config.word_vocab_size is not None and config.word_embedding_size is not None:
            self.word_pooling = StaticPooling(config.word_vocab_size, config.word_embedding_size)
        self._decode_step: DecodeStep | None = None

    def __call__(self, ids: mx.array, cache: Sequence[LayerCache] | None = None) -> mx.array:
        return self.logits(self.hidden_states(ids, cache))

    def hidden_states(self, ids: mx.array, cache: Sequence[LayerCache] | None = None) -> mx.array:
        """What the output head sees, ``(B, L, D)``."""
        self._check_length(ids, cache)
        if cache is not None and ids.shape[1] == 1:
            return self.decode_states(ids, [DecodeGroup(len(ids), cache)])
        return self.hidden_from_vectors(self.embed_tokens(ids), cache)

    def hidden_from_vectors(self, x: mx.array, cache: Sequence[PassCache] | None = None) -> mx.array:
        """Hidden states from ``(B, L, D)`` token vectors, which may be other than those of any token."""
        for layer, layer_cache in zip(self.layers, cache or repeat(None, len(self.layers)), strict=True):
            x = layer(x, layer_cache)
        for layer_cache in cache or ():
            layer_cache.advance(x.shape[1])
        return self._finish(x)

    def residual_states(self, ids: mx.array) -> list[mx.array]:
        """The residual stream before the first block and after each, ``num_layers + 1`` arrays ``(B, L, D)``."""
        self._check_length(ids, None)
        states = [self.embed_tokens(ids)]
        for layer in self.layers:
            states.append(layer(states[-1]))
        return states

    def logits(self, hidden: mx.array) -> mx.array:
        """Scores of every token id from ``(..., D)`` hidden states."""
        return (
            self.embed_tokens.as_linear(hidden)
            if self.config.tie_word_embeddings
            else apply_linear(self.lm_head, hidden)
        )

    def make_cache(self) -> list[LayerCache]:
        """An empty decode cache, one entry per layer; mlx-lm calls this too."""
        return [layer.token_mixing.make_cache() for layer in self.layers]

    def decode_states(self, ids: mx.array, groups: Sequence[DecodeGroup]) -> mx.array:
        """What the output head sees of one new position per sequence, ``(B, 1)`` to ``(B, 1, D)``; see `DecodeStep`."""
        if self._decode_step is None:
            # Looked up at each step: a quantiser puts another module in its place.
            self._decode_step = DecodeStep(self.layers, lambda ids: self.embed_tokens(ids), self._finish, self.state)
        return self._decode_step(ids, groups)

    def _finish(self, x: mx.array) -> mx.array:
        return nn.relu(x) if self.config.final_activation == "relu" else x

    def _check_length(self, ids: mx.array, cache: Sequence[LayerCache] | None) -> None:
        seen = cache[0].offset if cache else 0
        if seen + ids.shape[1] > self.config.context_length:
            raise ValueError(
                f"{ids.shape[1]} tokens after {seen} do not fit a context of {self.config.context_length}; "
                "shorten the text or generate with mlx_mixer.stream_generate, which slides the window"
            )


def next_token_loss(model: LanguageMixer, ids: mx.array, labels: mx.array | None = None) -> mx.array:
    r"""Mean cross-entropy of the logit at position t against the label at t + 1, for t = 0 ... L - 2.

    Args:
        model: The model.
        ids: ``(B, L)`` token ids.
        labels: ``(B, L)`` targets, -100 where none is counted; the ids themselves if omitted.

    Returns:
        A float32 scalar in nats; 0 if no target counts.
    """
    return mean_token_loss(model(ids)[:, :-1], (ids if labels is None else labels)[:, 1:])
