"""The product of a masked mixing matrix with token rows, differentiable, as Metal or plain MLX."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import mlx.core as mx

from mlx_mixer.kernels.choose import default_chooser
from mlx_mixer.kernels.masked_metal import (
    MASKED_OUTER,
    MASKED_PRODUCT,
    outer_product_metal,
    product_metal,
    transposed_product_metal,
)
from mlx_mixer.kernels.masked_plain import outer_product, product, transposed_product
from mlx_mixer.kernels.twins import Shape, TwinKernel, random_array

# With fewer rows the zeros cost less than leaving them out: measured on a CPU core with MKL.
FEWEST_ROWS = 256


def masked_matmul(weight: mx.array, rows: mx.array, start: int = 0) -> mx.array:
    r"""Mix token rows with the lower triangle of a matrix.

    Computes :math:`y_t = \sum_{s \le t} W_{ts} x_s` for the output positions `start <= t < start + n`, where row `i`
    of `weight` belongs to position `start + i`. What `weight` holds right of the diagonal neither counts nor gets a
    gradient, and rows past the last output position are not read.

    Source: https://arxiv.org/abs/2409.01482, the causal mask of the token mixing layer.

    Args:
        weight: ``(n, S)`` or, for H heads, ``(H, n, S)``: rows of the mixing matrix for the output positions.
        rows: ``(..., S, D)`` or ``(..., H, S, D)``, one row per input position from 0.
        start: Position of the first output row.

    Returns:
        ``(..., n, D)`` or ``(..., H, n, D)``, in the dtype of `rows`.
    """
    # One row that ends at its own diagonal element has nothing to mask: the common case of decoding.
    if weight.shape[-2] == 1 and weight.shape[-1] <= start + 1:
        return weight @ rows
    if weight.shape[-2] < FEWEST_ROWS:
        stop = start + weight.shape[-2]
        return mx.tril(weight[..., :stop], k=start) @ rows[..., :stop, :]
    leading = rows.shape[:-2]
    heads = 1 if weight.ndim == 2 else weight.shape[0]
    matrices = weight.reshape(heads, *weight.shape[-2:])
    mixed = _differentiable(start)(matrices, rows.reshape(-1, heads, *rows.shape[-2:]))
    assert isinstance(mixed, mx.array), "a custom function is only declared to return any object"
    return mixed.reshape(*leading, *mixed.shape[-2:])


@lru_cache(maxsize=256)
def _differentiable(start: int) -> Callable[[mx.array, mx.array], object]:
    """The product for one start; a custom function takes arrays only, so the start is closed over."""

    @mx.custom_function
    def mixed(weight: mx.array, rows: mx.array) -> mx.array:
        (result,) = _form(MASKED_MATMUL_TWINS, weight, rows)(weight, rows, start)
        return result

    @mixed.vjp
    def gradients(primals: tuple[mx.array, mx.array], cotangent: mx.array, _: mx.array) -> tuple[mx.array, mx.array]:
        weight, rows = primals
        (of_weight,) = _form(MASKED_OUTER_TWINS, weight, rows)(cotangent, rows, start)
        (of_rows,) = _form(MASKED_TRANSPOSED_TWINS, weight, rows)(weight, cotangent, start)
        return of_weight.astype(weight.dtype), of_rows.astype(rows.dtype)

    return mixed


def _form(twins: TwinKernel, weight: mx.array, rows: mx.array) -> Callable[..., tuple[mx.array, ...]]:
    heads, height, width = weight.shape
    # Prompts have every length; a probe for each would cost more than it gains.
    shape = {
        "batch": rows.shape[0],
        "heads": heads,
        "rows": _power_of_two(height),
        "columns": _power_of_two(width),
        "dims": rows.shape[-1],
    }
    return default_chooser().choose(twins, shape, (weight.dtype, rows.dtype))


def _power_of_two(length: int) -> int:
    return 1 << (length - 1).bit_length()


def _operands(shape: Shape, dtype: mx.Dtype) -> tuple[mx.array, mx.array, mx.array, int]:
    """Matrix, rows, cotangent and start of one call."""
    batch, heads, height, width, dims = (shape[name] for name in ("batch", "heads", "rows", "columns", "dims"))
    return (
        random_array(0, (heads, height, width), dtype),
        random_array(1, (batch, heads, width, dims), dtype),
        random_array(2, (batch, heads, height, dims), dtype),
        max(0, width - height),
    )


def _product_inputs(shape: dict[str, int], dtype: mx.Dtype) -> tuple[Any, ...]:
    weight, rows, _, start = _operands(shape, dtype)
    return weight, rows, start


def _transposed_inputs(shape: dict[str, int], dtype: mx.Dtype) -> tuple[Any, ...]:
    weight, _, cotangent, start = _operands(shape, dtype)
    return weight, cotangent, start


def _outer_inputs(shape: dict[str, int], dtype: mx.Dtype) -> tuple[Any, ...]:
    _, rows, cotangent, start = _operands(shape, dtype)
    return cotangent, rows, start


_TINY = {"batch": 2, "heads": 2, "rows": 37, "columns": 45, "dims": 20}
_TYPICAL = {"batch": 1, "heads": 1, "rows": 512, "columns": 512, "dims": 512}

MASKED_MATMUL_TWINS = TwinKernel(
    name="masked_matmul",
    plain=product,
    metal=product_metal,
    sources=(MASKED_PRODUCT,),
    tiny=_TINY,
    typical=_TYPICAL,
    probe_inputs=_product_inputs,
)
MASKED_TRANSPOSED_TWINS = TwinKernel(
    name="masked_matmul_rows_gradient",
    plain=transposed_product,
    metal=transposed_product_metal,
    sources=(MASKED_PRODUCT,),
    tiny=_TINY,
    typical=_TYPICAL,
    probe_inputs=_transposed_inputs,
)
MASKED_OUTER_TWINS = TwinKernel(
    name="masked_matmul_weight_gradient",
    plain=outer_product,
    metal=outer_product_metal,
    sources=(MASKED_OUTER,),
    tiny=_TINY,
    typical=_TYPICAL,
    probe_inputs=_outer_inputs,
)
