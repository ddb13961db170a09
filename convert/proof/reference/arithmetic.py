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
# OpenBLAS starts threads for larger products, and on a busy machine they wait for each other for seconds.
SMALL_PRODUCT = 1 << 18
SMALL_ROWS = 32

_erf = np.vectorize(math.erf, otypes=[np.float64])


def layer_norm(x: Float64Array, weight: Weights, bias: Weights) -> Float64Array:
    """PyTorch's LayerNorm over the last axis, with the biased variance."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + NORM_EPSILON) * weight + bias


def affine(x: Float64Array, weight: Weights, bias: Weights | None = None) -> Float64Array:
    """PyTorch's Linear: ``(..., in)`` to ``(..., out)`` with a weight ``(out, in)``."""
    rows = x.reshape(-1, x.shape[-1])
    out = np.empty((len(rows), len(weight)))
    step = max(1, PART // max(1, weight.shape[1]))
    for start in range(0, len(weight), step):
        out[:, start : start + step] = product(rows, weight[start : start + step].astype(np.float64).T)
    out = out.reshape(*x.shape[:-1], len(weight))
    return out if bias is None else out + bias


def mix_positions(matrix: Float64Array, x: Float64Array) -> Float64Array:
    """A matrix ``(rows, n)`` over the positions of ``(B, n, d)``."""
    return np.stack([product(matrix, text) for text in x])


def product(a: Float64Array, b: Float64Array) -> Float64Array:
    """``a @ b``, in parts that are small enough for one thread."""
    out = np.empty((len(a), b.shape[1]))
    step = max(1, SMALL_PRODUCT // (SMALL_ROWS * max(1, len(b))))
    for row in range(0, len(a), SMALL_ROWS):
        for column in range(0, b.shape[1], step):
            rows, columns = slice(row, row + SMALL_ROWS), slice(column, column + step)
            out[rows, columns] = a[rows] @ b[:, columns]
    return out


def gelu(x: Float64Array) -> Float64Array:
    """The exact form, with the error function."""
    return 0.5 * x * (1 + _erf(x / math.sqrt(2)))


def silu(x: Float64Array) -> Float64Array:
    """``x * sigmoid(x)``."""
    return x * 0.5 * (1 + np.tanh(0.5 * x))
