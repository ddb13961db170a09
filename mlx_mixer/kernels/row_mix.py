"""Mixing of token rows with every causal form of weight: one matrix, one for each head, or K taps over the features."""

import mlx.core as mx

from mlx_mixer.kernels.masked_matmul import masked_matmul


def mix_rows(weight: mx.array, rows: mx.array, start: int = 0) -> mx.array:
    r"""Mix rows causally, head by head and tap by tap.

    Computes :math:`y_t[e] = \sum_{s \le t} \sum_{j<K} W^{(h,j)}_{ts}\, x_s[e + j - \lfloor (K-1)/2 \rfloor]` where
    head h owns D/H features, with zeros outside them.

    Args:
        weight: ``(H, K, n, S)``, the rows of the matrices for positions `start` to `start + n`.
        rows: ``(B, S, D)``, one row per input position from 0.
        start: Position of the first output row.

    Returns:
        ``(B, n, D)``.
    """
    num_heads, taps = weight.shape[:2]
    if num_heads == 1:
        return _mix_taps(weight[0], rows, taps, start)
    batch, seen, dims = rows.shape
    heads = rows.reshape(batch, seen, num_heads, dims // num_heads).swapaxes(1, 2)  # (B, H, S, D/H)
    mixed = _mix_taps(weight, heads, taps, start)
    return mixed.swapaxes(1, 2).reshape(batch, -1, dims)


def _mix_taps(weight: mx.array, rows: mx.array, taps: int, start: int) -> mx.array:
    """Mix ``(..., S, D)`` with the taps of ``(..., K, n, S)``, laid side by side so that K taps are one product."""
    if taps == 1:
        return masked_matmul(weight[..., 0, :, :], rows, start)
    masked = mx.tril(weight, k=start)
    side_by_side = mx.concatenate([masked[..., tap, :, :] for tap in range(taps)], axis=-1)  # (..., n, K S)
    return side_by_side @ mx.concatenate(_shifted_features(rows, taps), axis=-2)


def _shifted_features(rows: mx.array, taps: int) -> list[mx.array]:
    # An even kernel has its extra zero on the right, as "same" padding has in PyTorch.
    left = (taps - 1) // 2
    dims = rows.shape[-1]
    padded = mx.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(left, taps - 1 - left)])
    return [padded[..., tap : tap + dims] for tap in range(taps)]
