"""From upstream tensors to ours, one function per change of layout.

Every function takes the stored arrays of one parameter (one per head where there are heads, else one) and returns the
array of ours. Upstream leaves anything where a token-mixing weight is masked, so all masks are applied here.
"""

from collections.abc import Callable, Sequence

import numpy as np

from convert.sources.weight_file import Float32Array

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


def one_head(arrays: Sequence[Float32Array]) -> Float32Array:
    """``(...)`` to ``(1, ...)``: a structured mixer without heads is one with one head."""
    (array,) = arrays
    return array[None]


def first_row(arrays: Sequence[Float32Array]) -> Float32Array:
    """``(1, L)`` to ``(L,)``."""
    (array,) = arrays
    return array[0]


def one_vector_each(arrays: Sequence[Float32Array]) -> Float32Array:
    """``(H, L)`` to ``(H, 1, L)``."""
    (array,) = arrays
    return array[:, None]


def last_decay(arrays: Sequence[Float32Array]) -> Float32Array:
    """``(1,)`` or ``(2, 1)`` to ``(1, 1)``: where two are stored, only the second is used."""
    (array,) = arrays
    return array.reshape(-1)[-1:, None]


def decays_of_parts(arrays: Sequence[Float32Array]) -> Float32Array:
    """``(2, 1)`` to ``(1, 2)``: one head, two parts."""
    (array,) = arrays
    return array.reshape(1, -1)


def decays_of_heads(arrays: Sequence[Float32Array]) -> Float32Array:
    """H times ``(P,)`` or ``(P, 1)`` to ``(H, P)``."""
    return np.stack([array.reshape(-1) for array in arrays])


def spread(arrays: Sequence[Float32Array], length: int) -> Float32Array:
    """H times ``(1, L)``, or ``(1,)`` for one value at every position, to ``(H, L)``."""
    return np.stack([np.broadcast_to(array.reshape(-1), (length,)) for array in arrays])


def _masked_taps(array: Float32Array) -> Float32Array:
    taps = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return np.tril(taps)
