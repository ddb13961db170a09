"""From upstream tensors to ours, one function per change of layout.

Every function takes the stored arrays of one parameter (one per head where there are heads, else one) and returns the
array of ours. Upstream leaves anything where a token-mixing weight is masked, so all masks are applied here.
"""

from collections.abc import Callable, Sequence

import numpy as np

from convert.weight_file import Float32Array

Transform = Callable[[Sequence[Float32Array]], Float32Array]


def unchanged(arrays: Sequence[Float32Array]) -> Float32Array:
    """The one array as it is."""
    (array,) = arrays
    return array


def taps_first(arrays: Sequence[Float32Array]) -> Float32Array:
    """``(L, L, k)`` or ``(L, L)`` to ``(k, L, L)``, masked."""
    (array,) = arrays
    return _masked_taps(array)


def matrix(arrays: Sequence[Float32Array]) -> Float32Array:
    """``(rows, columns, 1)`` to ``(rows, columns)``, masked as the rectangle it is."""
    (array,) = arrays
    return np.tril(array[:, :, 0])


def unmasked_matrix(arrays: Sequence[Float32Array]) -> Float32Array:
    """``(L, L, 1)`` or ``(L, L)`` to ``(L, L)``, every entry kept: for mixing that is not causal."""
    (array,) = arrays
    return array.reshape(array.shape[:2])


def reverse_matrix(arrays: Sequence[Float32Array]) -> Float32Array:
    """``(L, L, 1)`` to ``(L, L)``, masked so that position t keeps the columns from t + 2 on."""
    (array,) = arrays
    return np.triu(array[:, :, 0], k=2)


def heads_taps_first(arrays: Sequence[Float32Array]) -> Float32Array:
    """H times ``(L, L, k)`` to ``(H, k, L, L)``, masked."""
    return np.stack([_masked_taps(array) for array in arrays])


def stacked(arrays: Sequence[Float32Array]) -> Float32Array:
    """H times ``(L,)`` to ``(H, L)``."""
    return np.stack(arrays)


def concatenated(arrays: Sequence[Float32Array]) -> Float32Array:
    """H times ``(D / H, ...)`` to ``(D, ...)``, heads in order."""
    return np.concatenate(arrays)


def last_taps_first(arrays: Sequence[Float32Array]) -> Float32Array:
    """The last head's ``(L, L, 1)`` to ``(1, L, L)``, masked: the only convolution that legacy heads use."""
    return _masked_taps(arrays[-1])


def last(arrays: Sequence[Float32Array]) -> Float32Array:
    """The last head's array."""
    return arrays[-1]


def summed_blocks(arrays: Sequence[Float32Array]) -> Float32Array:
    """``(D, H D)`` to ``(D, D)``: legacy heads all carry the same vector, so their output blocks add up."""
    (array,) = arrays
    dims = array.shape[0]
    # Added in float64: float32 rounding of many heads would show in the outputs.
    return array.reshape(dims, -1, dims).sum(axis=1, dtype=np.float64).astype(np.float32)


def _masked_taps(array: Float32Array) -> Float32Array:
    taps = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return np.tril(taps)
