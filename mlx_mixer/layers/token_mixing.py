"""Token mixing: learned linear maps over positions, lower triangular so that no position sees a later one.

Every kind takes normalised rows ``(B, L, D)`` and an optional decode cache, and returns what is added to the residual
stream. With a cache of `offset` tokens the input is the next L positions, and the result equals the last L rows of one
full pass (a causal mixer on fewer than `context_length` tokens is the top left corner of its matrices).

A token mixing consists of one or two causal products of rows (`mixings`) and of what is computed position by position
around them; a cache only has to know the products. Those with a state of constant size are in
`mlx_mixer.layers.structured`.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import mlx.core as mx
from mlx import nn

from mlx_mixer.cache import DecodeCache, LayerCache, LayerStep, RowMixing
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.kernels.gelu import gelu
from mlx_mixer.layers.row_token_mixing import RowTokenMixing, mix
from mlx_mixer.layers.structured import StructuredTokenMixing, ToeplitzTokenMixing


class TokenMixing(Protocol):
    """What a block needs of its token mixing."""

    def __call__(self, x: mx.array, cache: Any = None) -> mx.array:  # a cache or a step of its own making
        ...

    def mixings(self) -> Sequence[Any]:  # of the kind that its caches take
        """The causal products, in the order in which they are computed."""
        ...

    def make_cache(self) -> LayerCache:
        """An empty decode cache."""
        ...

    def step_cache(self, position: mx.array, entries: list[Any]) -> LayerStep:
        """One compiled step's view of what its cache's `enter_step` returned."""
        ...

    def sublayer(self, x: mx.array, norm: nn.Module, cache: Any) -> mx.array:
        """`x` plus the token mixing of its norm."""
        ...


class FlatTokenMixing(RowTokenMixing):
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

    def __init__(self, context_length: int, kernel_size: int = 1) -> None:
        super().__init__()
        self.weight = _triangular_init((kernel_size, context_length, context_length))
        self.bias = mx.zeros((context_length,))

    def __call__(self, x: mx.array, cache: DecodeCache | None = None) -> mx.array:
        return mix(self.mixings(), 0, x, cache)

    def mixings(self) -> list[RowMixing]:
        return [RowMixing(self.weight[None], self.bias[None])]

    @property
    def is_one_product(self) -> bool:
        return self.weight.shape[0] == 1


class ProjectedTokenMixing(RowTokenMixing):
    r"""Mix positions with one matrix, then features with one linear map.

    Computes :math:`y = O \, (\mathrm{tril}(W) x + b) + o`. This is the function of the early multi-head files whose
    heads all read the last convolution: their output blocks add up to :math:`O`.

    Args:
        context_length: Longest sequence the weights cover, in tokens.
        dims: Width D.

    Shape:
        - Input and output: ``(B, L, D)``.
    """

    def __init__(self, context_length: int, dims: int) -> None:
        super().__init__()
        self.weight = _triangular_init((1, context_length, context_length))
        self.bias = mx.zeros((context_length,))
        self.out_proj = nn.Linear(dims, dims)

    def __call__(self, x: mx.array, cache: DecodeCache | None = None) -> mx.array:
        return self.out_proj(mix(self.mixings(), 0, x, cache))

    def mixings(self) -> list[RowMixing]:
        return [RowMixing(self.weight[None], self.bias[None])]


class ExpandedTokenMixing(RowTokenMixing):
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

    def __init__(self, context_length: int, inner_length: int, bias: bool = True) -> None:
        super().__init__()
        self.inner_weight = _triangular_init((inner_length, context_length))
        self.outer_weight = _triangular_init((context_length, inner_length))
        if bias:
            self.inner_bias = mx.zeros((inner_length,))
            self.outer_bias = mx.zeros((context_length,))

    def __call__(self, x: mx.array, cache: DecodeCache | None = None) -> mx.array:
        mixings = self.mixings()
        return mix(mixings, 1, gelu(mix(mixings, 0, x, cache)), cache)

    def mixings(self) -> list[RowMixing]:
        length = self.inner_weight.shape[1]
        inner_bias = _square(self.inner_bias[None], length, axes=(1,)) if "inner_bias" in self else None
        outer_bias = self.outer_bias[None] if "outer_bias" in self else None
        return [
            RowMixing(_square(self.inner_weight, length, axes=(0,))[None, None], inner_bias),
            RowMixing(_square(self.outer_weight, length, axes=(1,))[None, None], outer_bias),
        ]


class HeadedTokenMixing(RowTokenMixing):
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

    def __init__(self, context_length: int, dims: int, num_heads: int, kernel_size: int = 1) -> None:
        super().__init__()
        self.in_proj = nn.Linear(dims, dims)
        self.weight = _triangular_init((num_heads, kernel_size, context_length, context_length))
        self.bias = mx.zeros((num_heads, context_length))
        self.out_proj = nn.Linear(dims, dims)

    def __call__(self, x: mx.array, cache: DecodeCache | None = None) -> mx.array:
        return self.out_proj(mix(self.mixings(), 0, self.in_proj(x), cache))

    def mixings(self) -> list[RowMixing]:
        return [RowMixing(self.weight, self.bias)]


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
        case "toeplitz":
            return ToeplitzTokenMixing(length)
        case _:
            return StructuredTokenMixing(config)


def _square(array: mx.array, length: int, axes: tuple[int, ...]) -> mx.array:
    """Cut inner rows that reach no output, or add rows of zeros, which add nothing: a square computes the same."""
    for axis in axes:
        missing = length - array.shape[axis]
        if missing < 0:
            array = array[:length] if axis == 0 else array[:, :length]
        elif missing > 0:
            array = mx.pad(array, [(0, missing if other == axis else 0) for other in range(array.ndim)])
    return array


def _triangular_init(shape: tuple[int, ...]) -> mx.array:
    # The usual uniform bound of a convolution: its fan-in is the taps times the input positions.
    taps = shape[-3] if len(shape) > 2 else 1
    bound = 1 / math.sqrt(taps * shape[-1])
    return mx.tril(mx.random.uniform(-bound, bound, shape))
