"""One vector for a text from its tokens: from their residual stream, or from vectors of their own."""

from collections.abc import Sequence

import mlx.core as mx
from mlx import nn

from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.layers.block import MixerBlock


class TokenWeightedPooling(nn.Module):
    r"""A mean over tokens with one learned weight per token id and one learned gate per block.

    With :math:`X_0` the token vectors and :math:`X_l` the residual stream after block l, computes

    .. math:: h_t = g_0 X_{0,t} + \sum_{l \ge 1} g_l (X_{l,t} - X_{l-1,t}), \qquad u = \sum_t w_t h_t, \quad w_t =
    \mathrm{softplus}(a_{id_t})

    Gates start at (1, 0, ..., 0): the untrained network is a weighted bag of words, and training lets context in.

    Args:
        vocab_size: Number of token ids, V.
        num_layers: Number of blocks.
    """

    def __init__(self, vocab_size: int, num_layers: int) -> None:
        super().__init__()
        self.token_weight = mx.zeros((vocab_size,))
        self.layer_gate = mx.array([1.0, *[0.0] * num_layers])

    def __call__(
        self, states: Sequence[mx.array], ids: mx.array, is_real: mx.array | None = None
    ) -> tuple[mx.array, mx.array]:
        """Pool the residual stream of a batch.

        Args:
            states: ``num_layers + 1`` arrays ``(B, L, D)``: token vectors, then the stream after each block.
            ids: ``(B, L)`` token ids.
            is_real: ``(B, L)``, 0 where a position is padding; all are real if omitted.

        Returns:
            Weighted sums ``(B, D)`` and total weights ``(B,)``; sums over the windows of one long text may be added
            up. Not normalised.
        """
        weights = self._weights(ids)
        if is_real is not None:
            weights = weights * is_real
        return (weights[:, None, :] @ self._gated(states)).squeeze(1), weights.sum(axis=1)

    def token_vectors(self, states: Sequence[mx.array], ids: mx.array) -> mx.array:
        """What each token adds to the weighted sum, ``(B, L, D)``; for the arguments see `__call__`."""
        return self._weights(ids)[:, :, None] * self._gated(states)

    def _weights(self, ids: mx.array) -> mx.array:
        return nn.softplus(self.token_weight[ids])

    def _gated(self, states: Sequence[mx.array]) -> mx.array:
        # Abel summation of the docstring's sum: each state is read once.
        gates = mx.concatenate([self.layer_gate, mx.zeros((1,), self.layer_gate.dtype)])
        mixed = (gates[0] - gates[1]) * states[0]
        for index, state in enumerate(states[1:], start=1):
            mixed = mixed + (gates[index] - gates[index + 1]) * state
        return mixed


class StaticPooling(nn.Module):
    r"""A sum over the tokens or the words of a window, of vectors that serve nothing else.

    With :math:`c_v` how often token id v occurs in the window, computes

    .. math:: u = \sum_v \sqrt{c_v} \, w_v S_v, \quad w_v = \mathrm{softplus}(a_v)

    so that what is said twice counts more than once, but less than twice, as in BM25 (there by :math:`c (k + 1) / (c +
    k)`). The blocks have no part in it: learning to find does not disturb writing, and vectors may be longer than the
    residual stream is wide.

    Args:
        vocab_size: Number of ids, V.
        embedding_size: Length of a vector, E.
    """

    def __init__(self, vocab_size: int, embedding_size: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab_size, embedding_size)
        self.token_weight = mx.zeros((vocab_size,))

    def __call__(self, ids: mx.array, is_real: mx.array | None = None) -> mx.array:
        """Sum up windows.

        Args:
            ids: ``(B, L)`` token ids.
            is_real: ``(B, L)``, 0 where a position is padding; all are real if omitted.

        Returns:
            ``(B, E)``; the sums of one long text's windows may be added up. Not normalised.
        """
        return _summed(_shares(self.token_weight, ids, is_real), self.table(ids))

    def parts(self, ids: mx.array) -> mx.array:
        """What each position of ``(B, L)`` ids adds to the sum, ``(B, L, E)``; equal tokens add equal parts."""
        return _shares(self.token_weight, ids)[:, :, None] * self.table(ids)


class ContextualPooling(nn.Module):
    r"""The sum of `StaticPooling`, of vectors that went through blocks of their own first.

    With :math:`c_t` how often the id of position t occurs in the window, computes

    .. math:: h = \mathrm{Block}_N(\dots \mathrm{Block}_1(S[ids])), \qquad u = \sum_t
        \frac{\mathrm{softplus}(a_{id_t})}{\sqrt{c_t}} \, h_t

    so that with blocks that add nothing it is `StaticPooling`. The blocks serve search alone, as the vectors do: none
    is shared with those that write.

    Args:
        config: Of a model with "contextual" pooling.

    Raises:
        ValueError: If it has another kind.
    """

    def __init__(self, config: LanguageMixerConfig) -> None:
        super().__init__()
        blocks = config.embedding_blocks
        if blocks is None:
            raise ValueError(f"pooling is {config.pooling!r}; only 'contextual' pooling has blocks of its own")
        self.table = nn.Embedding(blocks.vocab_size, blocks.hidden_size)
        self.token_weight = mx.zeros((blocks.vocab_size,))
        self.layers = [MixerBlock(blocks) for _ in range(blocks.num_layers)]

    def __call__(self, ids: mx.array, is_real: mx.array | None = None) -> mx.array:
        """Sum up windows.

        Args:
            ids: ``(B, L)`` ids, L at most the context length.
            is_real: ``(B, L)``, 0 where a position is padding, which stands on the right; all are real if omitted.

        Returns:
            ``(B, E)``; the sums of one long text's windows may be added up. Not normalised.
        """
        vectors = self._vectors(ids)
        if is_real is not None:
            # No real position sees padding, but 0 times a state of it that is no number is no number either.
            vectors = mx.where(is_real[:, :, None], vectors, 0)
        return _summed(_shares(self.token_weight, ids, is_real), vectors)

    def parts(self, ids: mx.array) -> mx.array:
        """What each position of ``(B, L)`` ids adds to the sum, ``(B, L, E)``."""
        return _shares(self.token_weight, ids)[:, :, None] * self._vectors(ids)

    def _vectors(self, ids: mx.array) -> mx.array:
        x = self.table(ids)
        for layer in self.layers:
            x = layer(x)
        return x


def _shares(token_weight: mx.array, ids: mx.array, is_real: mx.array | None = None) -> mx.array:
    r""":math:`\mathrm{softplus}(a_{id_t}) / \sqrt{c_t}` of each position, ``(B, L)``; 0 for padding."""
    same = ids[:, :, None] == ids[:, None, :]
    if is_real is not None:
        same = mx.logical_and(same, is_real[:, None, :])
    # c positions of 1 / sqrt(c) each. Padding may find no real token like it.
    shares = nn.softplus(token_weight[ids]) * mx.rsqrt(mx.maximum(same.sum(axis=-1), 1))
    return shares if is_real is None else shares * is_real


def _summed(shares: mx.array, vectors: mx.array) -> mx.array:
    """``(B, L)`` shares of ``(B, L, E)`` vectors as ``(B, E)``."""
    return (shares[:, None, :] @ vectors).squeeze(1)
