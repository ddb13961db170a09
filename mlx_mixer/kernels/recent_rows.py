"""The rows of the current lookahead block, which decode steps fill one by one."""

import mlx.core as mx

# Positions per lookahead block: reads per token are context / BLOCK + BLOCK / 2 rows, smallest near the square root.
BLOCK = 32


def write_row(recent: mx.array, row: mx.array, position: mx.array) -> mx.array:
    """`recent` ``(B, 32, D)`` with the new row ``(B, D)`` at the place of a ``(1,)`` position in the block."""
    return mx.slice_update(recent, row[:, None], position % recent.shape[1], axes=(1,))
