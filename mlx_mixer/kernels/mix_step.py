r"""One new position through a token mixing sublayer, in one call.

Lookahead decoding cuts the positions into blocks of 32. When a block begins, one matrix product adds up what all
earlier positions contribute to each of its positions (`past`); a step then reads only the rows of its own block:

.. math:: y = x + \Big( b_t + P_t + \sum_{s = t - t \bmod 32}^{t - 1} W_{ts}\, n_s + W_{tt}\, n_t \Big),
    \quad n_t = \mathrm{LayerNorm}(x)

The position travels as an array, so shapes never change and a compiled step is traced once.
"""

from typing import Any

import mlx.core as mx

from mlx_mixer.kernels.choose import default_chooser
from mlx_mixer.kernels.mix_step_metal import MIX_STEP, mix_step_metal
from mlx_mixer.kernels.twins import TwinKernel, random_array

# Positions per lookahead block: reads per token are context / BLOCK + BLOCK / 2 rows, smallest near the square root.
BLOCK = 32


def mix_step(
    x: mx.array,
    *,
    past: mx.array,
    recent: mx.array,
    weight: mx.array,
    bias: mx.array,
    position: mx.array,
    norm: tuple[mx.array, mx.array] | None = None,
    eps: float = 1e-5,
    residual: bool = True,
) -> tuple[mx.array, mx.array]:
    """Mix one new position with those before it, as Metal or plain MLX, whichever the probe found better here.

    Args:
        x: ``(B, D)``, the residual stream of the new position; for headed forms the projected rows, heads side by side.
        past: ``(B, 32, D)``, what earlier blocks contribute to each position of the current block.
        recent: ``(B, 32, D)``, normalised rows of the current block. Rows from the new position on must be finite
            (they are multiplied by zero), and count for nothing.
        weight: ``(H, L, L)``, one mixing matrix per head over ``D / H`` features. Above the diagonal nothing counts.
        bias: ``(H, L)``.
        position: ``(1,)`` int32, below L.
        norm: Weight and bias ``(D,)`` of the layer norm; without it ``n = x``.
        eps: Added to the variance.
        residual: Whether `x` is added to the result.

    Returns:
        ``y`` and the new row ``n`` for `recent`, both ``(B, D)`` in the dtype of `x`.
    """
    arrays = (x, past, recent, weight, bias, *(norm or ()))
    shape = {
        "batch": x.shape[0],
        "dims": x.shape[1],
        "heads": weight.shape[0],
        "context": weight.shape[2],
        "normalise": int(norm is not None),
        "residual": int(residual),
    }
    twin = default_chooser().choose(MIX_STEP_TWINS, shape, tuple(array.dtype for array in arrays))
    y, row = twin(x, past, recent, weight, bias, position, norm, eps, residual)
    return y, row


def write_row(recent: mx.array, row: mx.array, position: mx.array) -> mx.array:
    """`recent` ``(B, 32, D)`` with the new row ``(B, D)`` at its place in the block."""
    return mx.slice_update(recent, row[:, None], position % recent.shape[1], axes=(1,))


def mix_step_plain(
    x: mx.array,
    past: mx.array,
    recent: mx.array,
    weight: mx.array,
    bias: mx.array,
    position: mx.array,
    norm: tuple[mx.array, mx.array] | None,
    eps: float,
    residual: bool,
) -> tuple[mx.array, mx.array]:
    """See `mix_step`."""
    batch, dims = x.shape
    heads, block = weight.shape[0], recent.shape[1]
    slot = position % block
    row = x if norm is None else mx.fast.layer_norm(x, *norm, eps)
    # The new row is in place when the block is mixed: a compiled step that also keeps this array computes it once.
    rows = write_row(recent, row, position)
    mixing = block_row(weight, position, block)  # (H, 1, 32)
    if heads > 1:
        rows = rows.reshape(batch, block, heads, dims // heads).swapaxes(1, 2)  # (B, H, 32, D/H)
    mixed = (mixing @ rows).reshape(batch, dims)
    here = mx.slice(bias, position, axes=(1,), slice_size=(heads, 1))  # (H, 1)
    arriving = mx.slice(past, slot, axes=(1,), slice_size=(batch, 1, dims)).reshape(batch, heads, -1)
    mixed = mixed + (arriving + here).reshape(batch, dims)
    return (x + mixed if residual else mixed), row


def block_row(weight: mx.array, position: mx.array, block: int = BLOCK) -> mx.array:
    """One row of each ``(H, L, L)`` matrix, the columns of its block up to the diagonal: ``(H, 1, block)``."""
    heads, _, context = weight.shape
    slot = position % block
    first = position - slot
    if context % block == 0:
        start = mx.concatenate([position, first])
        return _up_to(slot, mx.slice(weight, start, axes=(1, 2), slice_size=(heads, 1, block)))
    # The last block reaches beyond the matrix: pad one row, not the matrix.
    rows = mx.slice(weight, position, axes=(1,), slice_size=(heads, 1, context))
    padded = mx.pad(rows, [(0, 0), (0, 0), (0, -context % block)])
    return _up_to(slot, mx.slice(padded, first, axes=(2,), slice_size=(heads, 1, block)))


def _up_to(slot: mx.array, row: mx.array) -> mx.array:
    return mx.where(mx.arange(row.shape[-1]) <= slot, row, 0)


def _probe_inputs(shape: dict[str, int], dtype: mx.Dtype) -> tuple[Any, ...]:
    batch, dims, heads, context = (shape[name] for name in ("batch", "dims", "heads", "context"))
    seeds = iter(range(8))

    def array(*sizes: int) -> mx.array:
        return random_array(next(seeds), sizes, dtype)

    return (
        array(batch, dims),
        array(batch, BLOCK, dims),
        array(batch, BLOCK, dims),
        array(heads, context, context),
        array(heads, context),
        mx.array([min(context, BLOCK) - 2], mx.int32),
        (array(dims), array(dims)) if shape["normalise"] else None,
        1e-5,
        bool(shape["residual"]),
    )


MIX_STEP_TWINS = TwinKernel(
    name="mix_step",
    plain=mix_step_plain,
    metal=mix_step_metal,
    sources=(MIX_STEP,),
    tiny={"batch": 2, "dims": 42, "heads": 3, "context": 45},
    typical={"batch": 1, "dims": 512, "heads": 1, "context": 512, "normalise": 1, "residual": 1},
    probe_inputs=_probe_inputs,
)
