"""One step's batch shared out between processes and between the parts that are accumulated."""

from collections.abc import Callable, Sequence

import mlx.core as mx

Batch = Sequence[mx.array]
# (batch, part, parts) -> that part and how much it counts in the mean of the losses; a part may be empty and count 0.
Split = Callable[[Batch, int, int], tuple[Batch, float]]


def split_rows(batch: Batch, part: int, parts: int) -> tuple[Batch, float]:
    """Every so manyth row of each array; a loss that is a mean over rows counts by rows.

    Args:
        batch: Arrays with one row per example.
        part: Which part, from 0.
        parts: How many there are.
    """
    rows = tuple(array[part::parts] for array in batch)
    return rows, float(rows[0].shape[0])


def keep_whole(batch: Batch, _part: int, _parts: int) -> tuple[Batch, float]:
    """The batch as it is, for batches that are made in parts; all parts count alike."""
    return batch, 1.0
