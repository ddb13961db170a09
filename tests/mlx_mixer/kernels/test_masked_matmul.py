"""The blocked product and its gradients against a triangle in float64."""

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mlx_mixer.kernels.masked_matmul import FEWEST_ROWS, masked_matmul
from mlx_mixer.kernels.masked_plain import outer_product, product, transposed_product

Numbers = NDArray[np.float64]
NAN = float("nan")


def numbers(*shape: int, seed: int = 0) -> Numbers:
    # Rounded, so that both sides start from the same values.
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32).astype(np.float64)


def exact(weight: Numbers, rows: Numbers, start: int) -> Numbers:
    return np.tril(weight, start) @ rows


def to_mlx(array: Numbers, dtype: mx.Dtype = mx.float32) -> mx.array:
    return mx.array(array.astype(np.float32)).astype(dtype)


def to_numpy(array: mx.array) -> Numbers:
    return np.array(array.astype(mx.float32)).astype(np.float64)


@pytest.mark.parametrize("length", [1, 3, FEWEST_ROWS - 1, FEWEST_ROWS, FEWEST_ROWS + 1, 517])
@pytest.mark.parametrize("heads", [None, 3])
def test_a_row_mixes_itself_and_earlier_rows(length: int, heads: int | None) -> None:
    lead = () if heads is None else (heads,)
    weight, rows = numbers(*lead, length, length), numbers(2, *lead, length, 5, seed=1)
    got = to_numpy(masked_matmul(to_mlx(weight), to_mlx(rows)))
    np.testing.assert_allclose(got, exact(weight, rows, 0), atol=1e-4)


@pytest.mark.parametrize("length", [40, FEWEST_ROWS + 40])
def test_nothing_past_the_diagonal_is_looked_at(length: int) -> None:
    """Stored weights may hold anything there, and rows past the last position may not have been written yet."""
    start, extra = 7, 9
    weight, rows = numbers(length, start + length + extra), numbers(2, start + length + extra, 4, seed=1)
    want = exact(weight, rows, start)
    weight[np.triu_indices_from(weight, start + 1)] = NAN
    rows[:, start + length :] = NAN
    np.testing.assert_allclose(to_numpy(masked_matmul(to_mlx(weight), to_mlx(rows), start)), want, atol=1e-4)


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
def test_half_precision_keeps_its_dtype(dtype: mx.Dtype) -> None:
    weight, rows = numbers(300, 300) / 16, numbers(2, 300, 4, seed=1)
    got = masked_matmul(to_mlx(weight, dtype), to_mlx(rows, dtype))
    assert got.dtype == dtype
    np.testing.assert_allclose(to_numpy(got), exact(weight, rows, 0), atol=0.05)


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3),
    heads=st.integers(1, 3),
    height=st.integers(1, 40) | st.integers(250, 300) | st.integers(500, 530),
    extra=st.integers(-30, 30),
    start=st.integers(0, 40),
)
def test_blocks_equal_the_whole_triangle(batch: int, heads: int, height: int, extra: int, start: int) -> None:
    """However ragged: more columns than the rows see, or, as in expanded mixers, fewer."""
    width = max(1, height + start + extra)
    weight, rows = numbers(heads, height, width), numbers(batch, heads, width, 3, seed=1)
    cotangent = numbers(batch, heads, height, 3, seed=2)
    triangle = np.tril(weight, start)
    (forward,) = product(to_mlx(weight), to_mlx(rows), start)
    (of_rows,) = transposed_product(to_mlx(weight), to_mlx(cotangent), start)
    (of_weight,) = outer_product(to_mlx(cotangent), to_mlx(rows), start)
    np.testing.assert_allclose(to_numpy(forward), triangle @ rows, atol=1e-3)
    np.testing.assert_allclose(to_numpy(of_rows), triangle.swapaxes(-1, -2) @ cotangent, atol=1e-3)
    want = np.tril((cotangent @ rows.swapaxes(-1, -2)).sum(0), start)
    np.testing.assert_allclose(to_numpy(of_weight), want, atol=1e-3)


@pytest.mark.parametrize("length", [20, FEWEST_ROWS, 400])
@pytest.mark.parametrize("heads", [None, 2])
@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_reach_the_triangle_and_no_more(length: int, heads: int | None, compiled: bool) -> None:
    lead = () if heads is None else (heads,)
    weight, rows = numbers(*lead, length, length) / 16, numbers(2, *lead, length, 4, seed=1)

    def loss(w: mx.array, x: mx.array) -> mx.array:
        return (masked_matmul(w, x) ** 2).sum()

    gradient = mx.grad(loss, argnums=(0, 1))
    of_weight, of_rows = (mx.compile(gradient) if compiled else gradient)(to_mlx(weight), to_mlx(rows))
    cotangent = 2 * exact(weight, rows, 0)
    want = np.tril((cotangent @ rows.swapaxes(-1, -2)).sum(0))
    np.testing.assert_allclose(to_numpy(of_weight), want, atol=1e-2)
    np.testing.assert_allclose(to_numpy(of_rows), np.tril(weight).swapaxes(-1, -2) @ cotangent, atol=1e-2)
    assert (np.triu(to_numpy(of_weight), 1) == 0).all()


def test_mixed_dtypes_give_each_argument_a_gradient_of_its_own() -> None:
    weight, rows = to_mlx(numbers(FEWEST_ROWS, FEWEST_ROWS), mx.float16), to_mlx(numbers(1, FEWEST_ROWS, 4))
    of_weight, of_rows = mx.grad(lambda w, x: masked_matmul(w, x).sum(), argnums=(0, 1))(weight, rows)
    assert (of_weight.dtype, of_rows.dtype) == (mx.float16, mx.float32)
