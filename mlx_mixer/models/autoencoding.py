"""The autoencoding mixer: a text to one vector, and the vector back to the text."""

from collections.abc import Sequence
from itertools import repeat

import mlx.core as mx
from mlx import nn

from mlx_mixer.cache import LayerCache, PassCache
from mlx_mixer.errors import UnsupportedModelError
from mlx_mixer.layers.block import MixerBlock
from mlx_mixer.model_configs.autoencoding import AutoencodingMixerConfig
from mlx_mixer.models.token_loss import mean_token_loss


class MixerEncoder(nn.Module):
    """Token vectors and a causal stack of blocks, as in a language mixer without its head.

    Shape:
        - Input: ``(B, L)`` integer ids, with ``offset + L <= context_length``.
        - Output: ``(B, L, D)`` states; the last one has seen the whole text.
    """

    def __init__(self, config: AutoencodingMixerConfig) -> None:
        super().__init__()
        self.context_length = config.context_length
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = _blocks(config, config.num_layers)

    def __call__(self, ids: mx.array) -> mx.array:
        return self.hidden_states(ids)

    def hidden_states(self, ids: mx.array, cache: Sequence[LayerCache] | None = None) -> mx.array:
        """The states of all positions, ``(B, L, D)``."""
        seen = cache[0].offset if cache else 0
        if seen + ids.shape[1] > self.context_length:
            raise ValueError(
                f"{ids.shape[1]} tokens after {seen} do not fit a context of {self.context_length}; shorten the text"
            )
        return self.hidden_from_vectors(self.embed_tokens(ids), cache)

    def hidden_from_vectors(self, x: mx.array, cache: Sequence[PassCache] | None = None) -> mx.array:
        """States from ``(B, L, D)`` token vectors, which may be other than those of any token."""
        for layer, layer_cache in zip(self.layers, cache or repeat(None, len(self.layers)), strict=True):
            x = layer(x, layer_cache)
        for layer_cache in cache or ():
            layer_cache.advance(x.shape[1])
        return x

    def make_cache(self) -> list[LayerCache]:
        """An empty cache, one entry per layer."""
        return [layer.token_mixing.make_cache() for layer in self.layers]


class AutoencodingMixer(nn.Module):
    r"""Two causal stacks with one vector between them.

    The encoder's state at `embedding_position`, as a rule the last, is the vector :math:`v` of the text. With a
    bottleneck :math:`v \leftarrow W_u (W_d v + b_d) + b_u`. The decoder's input :math:`D` is

    - "repeat": :math:`D_t = v` at every position;
    - "unroll": :math:`D_t = W_p w_t + b_p` with :math:`w_t[m] = v[(t + m) \bmod D]` for :math:`m = 0 \dots D/2 - 1`,
      half of the features, one feature further at each position.

    Its blocks make of it what the head reads. The logit at position t stands for the token at t: there is no shift.

    Source: https://arxiv.org/abs/2409.01482, the autoencoder.

    Args:
        config: Sizes and form.

    Shape:
        - Input: ``(B, L)`` integer ids, with ``L <= context_length``; training texts fill the context.
        - Output: ``(B, L, V)`` logits.

    Raises:
        ValueError: If the ids do not fit the context.
        UnsupportedModelError: If the model is an encoder alone, which has no logits.
    """

    def __init__(self, config: AutoencodingMixerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = MixerEncoder(config)
        if config.num_decoder_layers == 0:
            return
        dims = config.hidden_size
        if config.compressed_size is not None:
            self.compress = nn.Linear(dims, config.compressed_size)
            self.expand = nn.Linear(config.compressed_size, dims)
        if config.decoder_input == "unroll":
            self.unroll = nn.Linear(dims // 2, dims)
        self.decoder = _blocks(config, config.num_decoder_layers)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(dims, config.vocab_size, bias=False)

    def __call__(self, ids: mx.array) -> mx.array:
        if self.config.num_decoder_layers == 0:
            raise UnsupportedModelError("this autoencoder is an encoder alone: it embeds texts and has no logits")
        hidden = self.hidden_states(ids)
        if self.config.tie_word_embeddings:
            return self.encoder.embed_tokens.as_linear(hidden)
        return self.lm_head(hidden)

    def hidden_states(self, ids: mx.array) -> mx.array:
        """What the output head sees, ``(B, L, D)``; of an encoder alone, its states."""
        states = self.encoder.hidden_states(ids)
        if self.config.num_decoder_layers == 0:
            return states
        x = self.decoder_input(self._vector(states), ids.shape[1])
        for layer in self.decoder:
            x = layer(x)
        return x

    def embeddings(self, ids: mx.array) -> mx.array:
        """The encoder's vector of each text, ``(B, D)``, not normalised."""
        return self._vector(self.encoder.hidden_states(ids))

    def decoder_input(self, vectors: mx.array, length: int) -> mx.array:
        """What the decoder starts from.

        Args:
            vectors: ``(B, D)`` from the encoder.
            length: Number of positions, L.

        Returns:
            ``(B, L, D)``.
        """
        if self.config.compressed_size is not None:
            vectors = self.expand(self.compress(vectors))
        batch, dims = vectors.shape
        if self.config.decoder_input == "repeat":
            return mx.broadcast_to(vectors[:, None], (batch, length, dims))
        features = (mx.arange(length)[:, None] + mx.arange(dims // 2)) % dims
        return self.unroll(vectors[:, features])

    def _vector(self, states: mx.array) -> mx.array:
        return states[:, max(0, states.shape[1] + self.config.embedding_position)]


def _blocks(config: AutoencodingMixerConfig, count: int) -> list[MixerBlock]:
    block = config.stack_config()
    return [MixerBlock(block) for _ in range(count)]


def reconstruction_loss(model: AutoencodingMixer, ids: mx.array, labels: mx.array | None = None) -> mx.array:
    """Mean cross-entropy of the logit at each position against the label at the same position.

    Args:
        model: The model.
        ids: ``(B, L)`` token ids.
        labels: ``(B, L)`` targets, -100 where none is counted; the ids themselves if omitted.

    Returns:
        A float32 scalar in nats; 0 if no target counts.
    """
    return mean_token_loss(model(ids), ids if labels is None else labels)
