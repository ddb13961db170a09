r"""The masked product and its gradients from MLX's own operations.

Half of a dense product with a masked matrix multiplies zeros. Here the rows are cut into four blocks, each of which
takes only the columns up to its own end: 5/8 of the work. Measured with MKL on one core, float32, a batch of 8 and L =
D = 512, forward and both gradients take 0.76 of the time of `mx.tril(W) @ X` with automatic gradients. Finer blocks
cost more in small products than they save.

Shapes: `weight` ``(H, n, S)``, `rows` ``(B, H, S, D)``, results and cotangents ``(B, H, n, D)``; row `i` of `weight`
sees the columns up to ``start + i``.
"""

import mlx.core as mx

MOST_BLOCKS = 4
SMALLEST_BLOCK = 128


def product(weight: mx.array, rows: mx.array, start: int) -> tuple[mx.array]:
    r""":math:`y_t = \sum_{s \le t} W_{ts} x_s`, ``(B, H, n, D)``."""
    height, width = weight.shape[-2:]
    masked = mx.tril(weight, k=start)
    blocks = []
    for first, last in _blocks(height):
        stop = min(width, start + last)
        blocks.append(_contiguous(masked[:, first:last, :stop]) @ rows[:, :, :stop])
    return (_stacked(blocks),)


def transposed_product(weight: mx.array, cotangent: mx.array, start: int) -> tuple[mx.array]:
    r"""The gradient of the rows, :math:`\sum_{t \ge s} W_{ts} g_t`, ``(B, H, S, D)``."""
    height, width = weight.shape[-2:]
    masked = mx.tril(weight, k=start)
    blocks = []
    for first, last in _blocks(width):
        # The first row that sees this block's first column; past the last row nothing does.
        top = min(max(0, first - start), height)
        block = _contiguous(masked[:, top:, first:last]).swapaxes(-1, -2)
        blocks.append(block @ cotangent[:, :, top:])
    return (_stacked(blocks),)


def outer_product(cotangent: mx.array, rows: mx.array, start: int) -> tuple[mx.array]:
    r"""The gradient of the matrix, :math:`\sum_b g_t \cdot x_s` for ``s <= t`` and zero elsewhere, ``(H, n, S)``."""
    height, width = cotangent.shape[-2], rows.shape[-2]
    blocks = []
    for first, last in _blocks(height):
        stop = min(width, start + last)
        # Summing a batch of products beats one product over batch times features, which needs two transposed copies.
        block = (cotangent[:, :, first:last] @ rows[:, :, :stop].swapaxes(-1, -2)).sum(axis=0)
        blocks.append(mx.pad(block, [(0, 0), (0, 0), (0, width - stop)]))
    return (mx.tril(_stacked(blocks), k=start),)


def _blocks(length: int) -> list[tuple[int, int]]:
    """First and last (exclusive) index of each block."""
    count = min(MOST_BLOCKS, max(1, length // SMALLEST_BLOCK))
    size = -(-length // count)
    return [(first, min(first + size, length)) for first in range(0, length, size)]


def _contiguous(block: mx.array) -> mx.array:
    # MLX's CPU matmul copies a strided matrix once per batch element.
    return mx.contiguous(block)


def _stacked(blocks: list[mx.array]) -> mx.array:
    return blocks[0] if len(blocks) == 1 else mx.concatenate(blocks, axis=-2)
