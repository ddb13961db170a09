"""The product of a masked mixing matrix with token rows."""

import mlx.core as mx


def masked_matmul(weight: mx.array, rows: mx.array, start: int = 0) -> mx.array:
    r"""Mix token rows with the lower triangle of a matrix.

    Computes :math:`y_t = \sum_{s \le t} W_{ts} x_s` for the output positions `start <= t < start + n`, where row `i`
    of `weight` belongs to position `start + i`. What `weight` holds right of the diagonal neither counts nor gets a
    gradient.

    Source: https://arxiv.org/abs/2409.01482, the causal mask of the token mixing layer.

    Args:
        weight: ``(..., n, S)``, rows of the mixing matrix for the output positions.
        rows: ``(..., S, D)``, one row per input position from 0.
        start: Position of the first output row.

    Returns:
        ``(..., n, D)``, in the dtype of `rows`.
    """
    # Columns up to the first row's diagonal element are never masked: the common case of decoding.
    if weight.shape[-1] > start + 1:
        weight = mx.tril(weight, k=start)
    return weight @ rows
