"""Calls of each kernel in which everything that must not count is NaN, compared with the plain twin's result."""

import mlx.core as mx
import numpy as np

from mlx_mixer.kernels.masked_metal import outer_product_metal, product_metal, transposed_product_metal
from mlx_mixer.kernels.masked_plain import outer_product, product, transposed_product
from mlx_mixer.kernels.mix_step import mix_step_plain
from mlx_mixer.kernels.mix_step_metal import mix_step_metal
from mlx_mixer.kernels.recent_rows import BLOCK
from mlx_mixer.kernels.twins import random_array

NAN = float("nan")
DTYPES = (mx.float32, mx.float16, mx.bfloat16)
# Share of the largest value: a few roundings of the dtype. Sums are float32 in all of them.
TOLERANCE = {mx.float32: 2e-5, mx.float16: 4e-3, mx.bfloat16: 3e-2}
# Sequences, heads, features per head: round, ragged, more features than a threadgroup has threads, and arrays of fewer
# than 8 elements, which MLX passes in another address space.
STEP_SHAPES = ((1, 1, 64), (2, 2, 20), (2, 3, 14), (1, 1, 300), (1, 1, 3))
# Sequences, heads, rows, columns, features, start: square, ragged, a later part of a sequence, columns past the last
# row's position, fewer columns than positions (the expanded form), and tiny.
PRODUCT_SHAPES = (
    (1, 1, 64, 64, 64, 0),
    (2, 2, 37, 45, 20, 8),
    (2, 1, 33, 40, 18, 3),
    (1, 3, 40, 33, 9, 0),
    (1, 1, 2, 2, 3, 0),
)


def check_step(
    shape: tuple[int, int, int], dtype: mx.Dtype, position: int, *, normalise: bool = True, residual: bool = True
) -> None:
    """Compare one step; rows and weights of later positions are poison to the kernel and zero to the plain twin."""
    batch, heads, head_dims = shape
    dims, slot = heads * head_dims, position % BLOCK
    # One sequence with a mean far from zero and one with a variance far below epsilon.
    offsets = mx.array([[0.0], [0.0]] if dtype != mx.float32 else [[100.0], [0.0]])[:batch]
    scales = mx.array([[1.0], [1e-3]])[:batch]
    x = (random_array(0, (batch, dims), mx.float32) * scales + offsets).astype(dtype)
    ahead, recent = (random_array(seed, (batch, BLOCK, dims), dtype) for seed in (1, 2))
    within = random_array(3, (heads, BLOCK, BLOCK), dtype)
    norm = (random_array(5, (dims,), dtype), random_array(6, (dims,), dtype)) if normalise else None
    now, block = mx.array([position], mx.int32), mx.arange(BLOCK)
    options = (norm, 1e-5, residual)
    here, earlier = block == slot, block < slot
    clean = (x, ahead, mx.where(earlier[:, None], recent, 0).astype(dtype), mx.tril(within), now)
    poisoned = (
        x,
        _only(here[:, None], ahead),
        _only(earlier[:, None], recent),
        _only(here[:, None] & (block <= slot), within),
        now,
    )
    (got, got_block), (want, want_block) = mix_step_metal(*poisoned, *options), mix_step_plain(*clean, *options)
    assert_close(got, want, dtype)
    assert_close(got_block[:, slot], want_block[:, slot], dtype)


def check_product(shape: tuple[int, int, int, int, int, int], dtype: mx.Dtype) -> None:
    """Compare the product and the gradient of the rows; poison above the diagonal and past the last position."""
    _, _, height, width, _, start = shape
    weight, rows, cotangent = _operands(shape, dtype)
    masked = _only(mx.tri(height, width, start).astype(mx.bool_), weight)
    seen = _only((mx.arange(width) < start + height)[:, None], rows)
    assert_close(product_metal(masked, seen, start)[0], product(weight, rows, start)[0], dtype)
    assert_close(
        transposed_product_metal(masked, cotangent, start)[0], transposed_product(weight, cotangent, start)[0], dtype
    )


def check_outer(shape: tuple[int, int, int, int, int, int], dtype: mx.Dtype) -> None:
    """Compare the gradient of the matrix."""
    _, rows, cotangent = _operands(shape, dtype)
    start = shape[-1]
    assert_close(outer_product_metal(cotangent, rows, start)[0], outer_product(cotangent, rows, start)[0], dtype)


def assert_close(got: mx.array, want: mx.array, dtype: mx.Dtype) -> None:
    assert got.dtype == want.dtype == dtype
    assert got.shape == want.shape
    left, right = (np.array(array.astype(mx.float32)) for array in (got, want))
    error = np.abs(left - right).max() / max(1.0, float(np.abs(right).max()))
    assert error <= TOLERANCE[dtype], f"the result differs from plain MLX by {error:.1e}"


def _operands(shape: tuple[int, int, int, int, int, int], dtype: mx.Dtype) -> tuple[mx.array, mx.array, mx.array]:
    batch, heads, height, width, dims, _ = shape
    return (
        random_array(0, (heads, height, width), dtype),
        random_array(1, (batch, heads, width, dims), dtype),
        random_array(2, (batch, heads, height, dims), dtype),
    )


def _only(counts: mx.array, array: mx.array) -> mx.array:
    return mx.where(counts, array, NAN).astype(array.dtype)
