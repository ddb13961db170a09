"""Blocks of mixers whose positions are mixed by a stored matrix: token mixing first, then a feed-forward with GELU.

The matrix is an ``nn.Conv1d`` that takes positions for channels and slides over features, or an ``nn.Linear`` over
positions. For a text of n tokens its first n rows and columns are the whole of it.
"""

from collections.abc import Callable

import numpy as np

from convert.proof.reference.arithmetic import Float64Array, Weights, gelu, mix_positions
from convert.proof.reference.modules import linear, norm, second_linear
from convert.proof.reference.source import Source

# From (B, n, d) normalised inputs to what is added to the residual stream, with the same shape.
Mixing = Callable[[Float64Array], Float64Array]
# Whether an output position (row) may read an input position (column).
Mask = Callable[[Weights, Weights], Weights]


def causal(rows: Weights, columns: Weights) -> Weights:
    """Each position reads itself and those before it."""
    return columns <= rows


def after_next(rows: Weights, columns: Weights) -> Weights:
    """Each position reads from the second one after it on."""
    return columns >= rows + 2


def everything(rows: Weights, columns: Weights) -> Weights:
    """Each position reads all."""
    return (columns >= 0) & (rows >= 0)


def token_mixing(source: Source, block: str, *, reads: Mask = causal, is_legacy: bool = False) -> Mixing:
    """The token mixing of a block, whichever its keys say it is.

    Args:
        source: The checkpoint.
        block: Name of the block, such as "mixerblocks.0".
        reads: The mask.
        is_legacy: Whether its heads are of the generation in which the last convolution took every head's place.
    """
    if f"{block}.conv.0.weight" in source:
        return _expanded(source, f"{block}.conv")
    for heads in (f"{block}.conv", f"{block}.mixerhead"):
        if f"{heads}.convs.0.weight" in source:
            return _legacy_heads(source, heads) if is_legacy else _heads(source, heads)
    return convolution(source, f"{block}.conv", reads)


def convolution(source: Source, name: str, reads: Mask = causal) -> Mixing:
    """``out[t, e] = bias[t] + sum of C[t, s, j] x[s, e + j - (k - 1) // 2]`` over the s that t reads and all taps j."""

    def mix(x: Float64Array) -> Float64Array:
        weight = source.read(f"{name}.weight")
        weight = weight[..., None] if weight.ndim == 2 else weight
        length, dims, taps = x.shape[-2], x.shape[-1], weight.shape[2]
        before = (taps - 1) // 2  # PyTorch's "same": the odd zero of an even kernel goes to the right
        padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(before, taps - 1 - before)])
        out = np.zeros(x.shape)
        for tap in range(taps):
            out += mix_positions(_masked(weight[:length, :length, tap], reads), padded[..., tap : tap + dims])
        return out + source.read(f"{name}.bias")[:length, None]

    return mix


def feed_forward(source: Source, block: str, x: Float64Array) -> Float64Array:
    """Two linear maps with GELU between."""
    return second_linear(source, f"{block}.patch_ff", gelu(linear(source, f"{block}.patch_ff.0", x)))


def block(source: Source, name: str, mixing: Mixing, x: Float64Array) -> Float64Array:
    """One block; those without norms or feed-forward have none stored."""
    has_norms = f"{name}.seq_layernorm.weight" in source
    x = x + mixing(norm(source, f"{name}.seq_layernorm", x) if has_norms else x)
    if f"{name}.patch_ff.0.weight" not in source:
        return x
    return x + feed_forward(source, name, norm(source, f"{name}.patch_layernorm", x) if has_norms else x)


def _expanded(source: Source, name: str) -> Mixing:
    def mix(x: Float64Array) -> Float64Array:
        length = x.shape[-2]
        inner = mix_positions(_masked(source.read(f"{name}.0.weight")[:length, :length, 0], causal), x)
        if f"{name}.0.bias" in source:
            inner = inner + source.read(f"{name}.0.bias")[:length, None]
        outer = mix_positions(_masked(source.read(f"{name}.2.weight")[:length, :length, 0], causal), gelu(inner))
        return outer + source.read(f"{name}.2.bias")[:length, None] if f"{name}.2.bias" in source else outer

    return mix


def _heads(source: Source, name: str) -> Mixing:
    """Each head projects, and mixes what it projected; the heads side by side go through one more linear map."""

    def mix(x: Float64Array) -> Float64Array:
        mixed = [
            convolution(source, f"{name}.convs.{head}")(linear(source, f"{name}.proj_head.{head}", x))
            for head in range(source.count(f"{name}.convs.{{}}.weight"))
        ]
        return linear(source, f"{name}.out_proj", np.concatenate(mixed, axis=-1))

    return mix


def _legacy_heads(source: Source, name: str) -> Mixing:
    """A loop variable that outlived its loop: every head is the last convolution of the unprojected input."""

    def mix(x: Float64Array) -> Float64Array:
        heads = source.count(f"{name}.convs.{{}}.weight")
        mixed = convolution(source, f"{name}.convs.{heads - 1}")(x)
        return linear(source, f"{name}.out_proj", np.concatenate([mixed] * heads, axis=-1))

    return mix


def _masked(weight: Weights, reads: Mask) -> Float64Array:
    rows, columns = np.arange(weight.shape[0])[:, None], np.arange(weight.shape[1])[None]
    return np.where(reads(rows, columns), weight, 0).astype(np.float64)
