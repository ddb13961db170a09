"""What every upstream module is made of, in float64."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
# Weights as they are stored; products convert a part at a time.
Weights = npt.NDArray[Any]

NORM_EPSILON = 1e-5  # of every LayerNorm upstream
PART = 1 << 22  # elements of a weight that are held in float64 at once

_erf = np.vectorize(math.erf, otypes=[np.float64])


def layer_norm(x: Float64Array, weight: Weights, bias: Weights) -> Float64Array:
    """PyTorch's LayerNorm over the last axis, with the biased variance."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + NORM_EPSILON) * weight + bias


def affine(x: Float64Array, weight: Weights, bias: Weights | None = None) -> Float64Array:
    """PyTorch's Linear: ``(..., in)`` to ``(..., out)`` with a weight ``(out, in)``."""
    out = np.empty((*x.shape[:-1], len(weight)))
    rows = max(1, PART // max(1, weight.shape[1]))
    for start in range(0, len(weight), rows):
        out[..., start : start + rows] = x @ weight[start : start + rows].astype(np.float64).T
    return out if bias is None else out + bias


def gelu(x: Float64Array) -> Float64Array:
    """The exact form, with the error function."""
    return 0.5 * x * (1 + _erf(x / math.sqrt(2)))


def silu(x: Float64Array) -> Float64Array:
    """``x * sigmoid(x)``."""
    return x * 0.5 * (1 + np.tanh(0.5 * x))
