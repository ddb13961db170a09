"""From our tensors back to the upstream layouts: the inverse of every function in `convert.families.transforms`.

An inverse takes one parameter and returns the stored arrays of it, one per head where there are heads. It moves values
and never computes with them, so any element type will do, bit patterns included. What a transform left out comes back
as zeros where it was masked, and as a copy of what is used where it was never read.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from convert.families import transforms
from convert.families.transforms import Transform

Array = npt.NDArray[Any]


class Stored(NamedTuple):
    """How many arrays a parameter is stored as, and how many axes each has."""

    heads: int
    axes: int


Inverse = Callable[[Array, Stored], list[Array]]


def inverse_of(transform: Transform) -> Inverse:
    """The inverse of a transform of a key table."""
    return INVERSES[transform.func if isinstance(transform, partial) else transform]


def _as_it_is(array: Array, _: Stored) -> list[Array]:
    return [array]


def _taps_last(array: Array, _: Stored) -> list[Array]:
    return [array.transpose(1, 2, 0)]


def _one_tap(array: Array, _: Stored) -> list[Array]:
    return [array[:, :, None]]


def _heads_taps_last(array: Array, _: Stored) -> list[Array]:
    return [head.transpose(1, 2, 0) for head in array]


def _unstacked(array: Array, _: Stored) -> list[Array]:
    return list(array)


def _split(array: Array, stored: Stored) -> list[Array]:
    return np.split(array, stored.heads)


def _repeated_taps_last(array: Array, stored: Stored) -> list[Array]:
    return [array.transpose(1, 2, 0)] * stored.heads


def _repeated(array: Array, stored: Stored) -> list[Array]:
    return [array] * stored.heads


def _first_block(array: Array, stored: Stored) -> list[Array]:
    """``(D, D)`` to ``(D, H D)`` that adds up to it: the other blocks are zero."""
    return [np.concatenate([array] + [np.zeros_like(array)] * (stored.heads - 1), axis=1)]


def _without_head(array: Array, _: Stored) -> list[Array]:
    return [array[0]]


def _as_row(array: Array, _: Stored) -> list[Array]:
    return [array[None]]


def _without_vectors(array: Array, _: Stored) -> list[Array]:
    return [array[:, 0]]


def _as_last_decay(array: Array, stored: Stored) -> list[Array]:
    """``(1, 1)`` to ``(1,)``, or to ``(2, 1)`` where an unused value comes first."""
    return [array.reshape(1)] if stored.axes == 1 else [np.repeat(array.reshape(1, 1), 2, axis=0)]


def _as_column(array: Array, _: Stored) -> list[Array]:
    return [array.reshape(-1, 1)]


def _decays_apart(array: Array, stored: Stored) -> list[Array]:
    return [row if stored.axes == 1 else row[:, None] for row in array]


def _gathered(array: Array, _: Stored) -> list[Array]:
    """``(H, L)`` to H times ``(1, L)``, or ``(1,)`` where all values of a head are one."""
    return [row[:1] if (row == row[0]).all() else row[None] for row in array]


INVERSES: dict[Any, Inverse] = {  # functions, which have no narrower type in common than their callers need
    transforms.unchanged: _as_it_is,
    transforms.taps_first: _taps_last,
    transforms.matrix: _one_tap,
    transforms.unmasked_matrix: _one_tap,
    transforms.reverse_matrix: _one_tap,
    transforms.heads_taps_first: _heads_taps_last,
    transforms.stacked: _unstacked,
    transforms.concatenated: _split,
    transforms.last_taps_first: _repeated_taps_last,
    transforms.last: _repeated,
    transforms.summed_blocks: _first_block,
    transforms.one_head: _without_head,
    transforms.first_row: _as_row,
    transforms.one_vector_each: _without_vectors,
    transforms.last_decay: _as_last_decay,
    transforms.decays_of_parts: _as_column,
    transforms.decays_of_heads: _decays_apart,
    transforms.spread: _gathered,
}
