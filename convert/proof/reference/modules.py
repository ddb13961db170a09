"""Modules of PyTorch by the name of their tensors."""

from convert.proof.reference.arithmetic import Float64Array, affine, layer_norm
from convert.proof.reference.source import Source


def linear(source: Source, name: str, x: Float64Array) -> Float64Array:
    """The Linear of this name."""
    return affine(x, source.read(f"{name}.weight"), source.read(f"{name}.bias"))


def norm(source: Source, name: str, x: Float64Array) -> Float64Array:
    """The LayerNorm of this name."""
    return layer_norm(x, source.read(f"{name}.weight"), source.read(f"{name}.bias"))


def second_linear(source: Source, name: str, x: Float64Array) -> Float64Array:
    """The second Linear of a feed-forward, at index 2, or at 3 where revisions had a Dropout before it."""
    return linear(source, f"{name}.2" if f"{name}.2.weight" in source else f"{name}.3", x)
