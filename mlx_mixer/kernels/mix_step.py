r"""One new position through a token mixing sublayer, in one call.

Lookahead decoding cuts the positions into blocks of 32. When a block begins, one matrix product adds up what all
earlier positions contribute to each of its positions; with their biases that makes `ahead`. A step then reads only the
rows of its own block, and the 32 by 32 weights by which they mix:

.. math:: y = x + \Big( A_t + \sum_{s = t - t \bmod 32}^{t - 1} W_{ts}\, n_s + W_{tt}\, n_t \Big),
    \quad n_t = \mathrm{LayerNorm}(x)

The position travels as an array, so shapes never change and a compiled step is traced once.
"""

from typing import Any

import mlx.core as mx

from mlx_mixer.kernels.choose import default_chooser
from mlx_mixer.kernels.mix_step_metal import MIX_STEP, mix_step_metal
from mlx_mixer.kernels.recent_rows import BLOCK, write_row
from mlx_mixer.kernels.twins import TwinKernel, random_array


def mix_step(
    x: mx.array,
    *,
    ahead: mx.array,
    recent: mx.array,
    within: mx.array,
    position: mx.array,
    norm: tuple[mx.array, mx.array] | None = None,
    eps: float = 1e-5,
    residual: bool = True,
) -> tuple[mx.array, mx.array]:
    """Mix one new position with those before it, as Metal or plain MLX, whichever the probe found better here.

    Args:
        x: ``(B, D)``, the residual stream of the new position; for headed forms the projected rows, heads side by side.
        ahead: ``(B, 32, D)``, what earlier blocks contribute to each position of the current block, bias included.
        recent: ``(B, 32, D)``, normalised rows of the current block. Rows from the new position on must be finite
            (they are multiplied by zero), and count for nothing.
        within: ``(H, 32, 32)``, how the positions of the current block mix among themselves: one matrix per head over
            ``D / H`` features, zero above the diagonal.
        position: ``(1,)`` int32.
        norm: Weight and bias ``(D,)`` of the layer norm; without it ``n = x``.
        eps: Added to the variance.
        residual: Whether `x` is added to the result.

    Returns:
        ``y``, ``(B, D)`` in the dtype of `x`, and `recent` with the new row ``n`` at its place.
    """
    arrays = (x, ahead, recent, within, *(norm or ()))
    shape = {
        "batch": x.shape[0],
        "dims": x.shape[1],
        "heads": within.shape[0],
        "normalise": int(norm is not None),
        "residual": int(residual),
    }
    twin = default_chooser().choose(MIX_STEP_TWINS, shape, tuple(array.dtype for array in arrays))
    y, block = twin(x, ahead, recent, within, position, norm, eps, residual)
    return y, block


def row_of_block(within: mx.array, position: mx.array) -> mx.array:
    """The weights of one position in ``(..., 32, 32)``: ``(..., 1, 32)``."""
    return mx.slice(within, position % BLOCK, axes=(within.ndim - 2,), slice_size=(*within.shape[:-2], 1, BLOCK))


def mix_step_plain(
    x: mx.array,
    ahead: mx.array,
    recent: mx.array,
    within: mx.array,
    position: mx.array,
    norm: tuple[mx.array, mx.array] | None,
    eps: float,
    residual: bool,
) -> tuple[mx.array, mx.array]:
    """See `mix_step`."""
    batch, dims = x.shape
    heads, block = within.shape[:2]
    recent = write_row(recent, x if norm is None else mx.fast.layer_norm(x, *norm, eps), position)
    rows = recent
    if heads > 1:
        rows = rows.reshape(batch, block, heads, dims // heads).swapaxes(1, 2)  # (B, H, 32, D/H)
    mixed = (row_of_block(within, position) @ rows).reshape(batch, dims)
    mixed = mixed + mx.slice(ahead, position % block, axes=(1,), slice_size=(batch, 1, dims))[:, 0]
    return (x + mixed if residual else mixed), recent


def _probe_inputs(shape: dict[str, int], dtype: mx.Dtype) -> tuple[Any, ...]:
    batch, dims, heads = (shape[name] for name in ("batch", "dims", "heads"))
    seeds = iter(range(8))

    def array(*sizes: int) -> mx.array:
        return random_array(next(seeds), sizes, dtype)

    return (
        array(batch, dims),
        array(batch, BLOCK, dims),
        array(batch, BLOCK, dims),
        mx.tril(array(heads, BLOCK, BLOCK)),
        mx.array([2 * BLOCK - 2], mx.int32),
        (array(dims), array(dims)) if shape["normalise"] else None,
        1e-5,
        bool(shape["residual"]),
    )


MIX_STEP_TWINS = TwinKernel(
    name="mix_step",
    plain=mix_step_plain,
    metal=mix_step_metal,
    sources=(MIX_STEP,),
    tiny={"batch": 2, "dims": 42, "heads": 3},
    typical={"batch": 1, "dims": 512, "heads": 1, "normalise": 1, "residual": 1},
    probe_inputs=_probe_inputs,
)
