"""Token mixing: learned linear maps over positions, lower triangular so that no position sees a later one.

Every kind takes normalised rows ``(B, L, D)`` and an optional decode cache, and returns what is added to the residual
stream. With a cache of `offset` tokens the input is the next L positions, and the result equals the last L rows of
one full pass (a causal mixer on fewer than `context_length` tokens is the top left corner of its matrices).
"""

import math
from typing import Protocol

import mlx.core as mx
from mlx import nn

from mlx_mixer.cache import MixerCache
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.kernels.masked_matmul import masked_matmul


class TokenMixing(Protocol):
    """What a block needs of its token mixing."""

    num_buffers: int

    def __call__(self, x: mx.array, cache: MixerCache | None = None) -> mx.array: ...


class FlatTokenMixing(nn.Module):
    r"""Mix positions with one matrix, or with K matrices over neighbouring features.

    Computes :math:`y_t[e] = b_t + \sum_{s \le t} \sum_{j<K} W^{(j)}_{ts} \, x_s[e + j - \lfloor (K-1)/2 \rfloor]`
    with zeros outside the features; ``K = 1`` is the plain product :math:`y = \mathrm{tril}(W) x + b`.

    Source: https://arxiv.org/abs/2409.01482, "flat" masked mixer; kernels over features as in the author's later
        experiments.

    Args:
        context_length: Longest sequence the weights cover, in tokens.
        kernel_size: Taps K over the feature axis.

    Shape:
        - Input: ``(B, L, D)`` with ``offset + L <= context_length``, any float dtype.
        - Output: same shape and dtype.
    """

    num_buffers = 1

    def __init__(self, context_length: int, kernel_size: int = 1) -> None:
        super().__init__()
        self.weight = _triangular_init((kernel_size, context_length, context_length))
        self.bias = mx.zeros((context_length,))

    def __call__(self, x: mx.array, cache: MixerCache | None = None) -> mx.array:
        start, rows = _rows_so_far(x, cache)
        stop = start + x.shape[1]
        mixed = _mix_taps(self.weight[:, start:stop, :stop], rows, start)
        return mixed + self.bias[start:stop, None]


class ProjectedTokenMixing(nn.Module):
    r"""Mix positions with one matrix, then features with one linear map.

    Computes :math:`y = O \, (\mathrm{tril}(W) x + b) + o`. This is the function of the early multi-head files whose
    heads all read the last convolution: their output blocks add up to :math:`O`.

    Args:
        context_length: Longest sequence the weights cover, in tokens.
        dims: Width D.

    Shape:
        - Input and output: ``(B, L, D)``.
    """

    num_buffers = 1

    def __init__(self, context_length: int, dims: int) -> None:
        super().__init__()
        self.weight = _triangular_init((1, context_length, context_length))
        self.bias = mx.zeros((context_length,))
        self.out_proj = nn.Linear(dims, dims)

    def __call__(self, x: mx.array, cache: MixerCache | None = None) -> mx.array:
        start, rows = _rows_so_far(x, cache)
        stop = start + x.shape[1]
        mixed = masked_matmul(self.weight[0, start:stop, :stop], rows, start) + self.bias[start:stop, None]
        return self.out_proj(mixed)


class ExpandedTokenMixing(nn.Module):
    r"""Mix positions with two matrices and a GELU between them.

    Computes :math:`y = \mathrm{tril}(W_2)\, \mathrm{gelu}(\mathrm{tril}(W_1) x + b_1) + b_2` where :math:`W_1` is
    ``(E L, L)`` and :math:`W_2` is ``(L, E L)``, each masked as the rectangle it is. With ``E > 1`` inner rows from L
    on reach no output; with ``E < 1`` positions from E L on reach no later one. Both are causal.

    Source: https://arxiv.org/abs/2409.01482, the expanded convolution.

    Args:
        context_length: Longest sequence the weights cover, in tokens.
        inner_length: Inner rows, E times `context_length`.
        bias: Whether there are biases.

    Shape:
        - Input and output: ``(B, L, D)``.
    """

    num_buffers = 2

    def __init__(self, context_length: int, inner_length: int, bias: bool = True) -> None:
        super().__init__()
        self.inner_weight = _triangular_init((inner_length, context_length))
        self.outer_weight = _triangular_init((context_length, inner_length))
        if bias:
            self.inner_bias = mx.zeros((inner_length,))
            self.outer_bias = mx.zeros((context_length,))

    def __call__(self, x: mx.array, cache: MixerCache | None = None) -> mx.array:
        start, rows = _rows_so_far(x, cache)
        stop = start + x.shape[1]
        inner_rows = self._inner_rows(rows, start, stop, cache)
        mixed = masked_matmul(self.outer_weight[start:stop, : inner_rows.shape[1]], inner_rows, start)
        return mixed + self.outer_bias[start:stop, None] if "outer_bias" in self else mixed

    def _inner_rows(self, rows: mx.array, start: int, stop: int, cache: MixerCache | None) -> mx.array:
        """Inner rows up to the last position; row f is final once token f is known, so only new ones are computed."""
        inner_length = self.inner_weight.shape[0]
        first, last = min(start, inner_length), min(stop, inner_length)
        if first == last and cache is not None:
            return cache.read(1, last)
        hidden = masked_matmul(self.inner_weight[first:last, :stop], rows, first)
        if "inner_bias" in self:
            hidden = hidden + self.inner_bias[first:last, None]
        hidden = nn.gelu(hidden)
        return hidden if cache is None else cache.write(1, hidden, first)


class HeadedTokenMixing(nn.Module):
    r"""Mix positions with one matrix per head, between an input and an output projection.

    Computes :math:`z^{(h)}_t = b^{(h)}_t + \sum_{s \le t} W^{(h)}_{ts} (P_h x_s + p_h)` for each head over its ``D /
    H`` features, concatenates the heads in order and projects: :math:`y_t = O\, [z^{(1)}_t; \dots; z^{(H)}_t] + o`.
    With ``K > 1`` taps the kernel of `FlatTokenMixing` slides over the features of each head.

    Source: https://arxiv.org/abs/2409.01482 and the author's multi-headed mixers.

    Args:
        context_length: Longest sequence the weights cover, in tokens.
        dims: Width D.
        num_heads: Heads H.
        kernel_size: Taps K over the features of a head.

    Shape:
        - Input and output: ``(B, L, D)``.
    """

    num_buffers = 1

    def __init__(self, context_length: int, dims: int, num_heads: int, kernel_size: int = 1) -> None:
        super().__init__()
        self.in_proj = nn.Linear(dims, dims)
        self.weight = _triangular_init((num_heads, kernel_size, context_length, context_length))
        self.bias = mx.zeros((num_heads, context_length))
        self.out_proj = nn.Linear(dims, dims)

    def __call__(self, x: mx.array, cache: MixerCache | None = None) -> mx.array:
        start, rows = _rows_so_far(self.in_proj(x), cache)
        stop = start + x.shape[1]
        batch, seen, dims = rows.shape
        num_heads = self.weight.shape[0]
        heads = rows.reshape(batch, seen, num_heads, dims // num_heads).swapaxes(1, 2)  # (B, H, S, D/H)
        mixed = _mix_taps(self.weight[:, :, start:stop, :stop], heads, start)
        mixed = mixed + self.bias[:, start:stop, None]
        return self.out_proj(mixed.swapaxes(1, 2).reshape(x.shape))


def make_token_mixing(config: LanguageMixerConfig) -> TokenMixing:
    """Build the token mixing that a config names."""
    length, dims = config.context_length, config.hidden_size
    match config.token_mixing:
        case "flat":
            return FlatTokenMixing(length, config.kernel_size)
        case "projected":
            return ProjectedTokenMixing(length, dims)
        case "expanded":
            return ExpandedTokenMixing(length, config.inner_length, config.token_bias)
        case "headed":
            return HeadedTokenMixing(length, dims, config.num_heads, config.kernel_size)


def _rows_so_far(x: mx.array, cache: MixerCache | None) -> tuple[int, mx.array]:
    """Position of the first new row, and the rows of every position up to the last new one."""
    if cache is None:
        return 0, x
    return cache.offset, cache.write(0, x, cache.offset)


def _mix_taps(weight: mx.array, rows: mx.array, start: int) -> mx.array:
    """Mix ``(..., S, D)`` with the taps of ``(..., K, n, S)``, laid side by side so that K taps are one product."""
    taps = weight.shape[-3]
    if taps == 1:
        return masked_matmul(weight[..., 0, :, :], rows, start)
    masked = mx.tril(weight, k=start)
    side_by_side = mx.concatenate([masked[..., tap, :, :] for tap in range(taps)], axis=-1)  # (..., n, K S)
    return side_by_side @ mx.concatenate(_shifted_features(rows, taps), axis=-2)


def _shifted_features(rows: mx.array, taps: int) -> list[mx.array]:
    # An even kernel has its extra zero on the right, as "same" padding has in PyTorch.
    left = (taps - 1) // 2
    dims = rows.shape[-1]
    padded = mx.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(left, taps - 1 - left)])
    return [padded[..., tap : tap + dims] for tap in range(taps)]


def _triangular_init(shape: tuple[int, ...]) -> mx.array:
    # The usual uniform bound of a convolution: its fan-in is the taps times the input positions.
    taps = shape[-3] if len(shape) > 2 else 1
    bound = 1 / math.sqrt(taps * shape[-1])
    return mx.tril(mx.random.uniform(-bound, bound, shape))
