"""The fast GELU against the error function in float64."""

import math

import mlx.core as mx
import numpy as np
import pytest
from mlx import nn

from mlx_mixer.kernels.gelu import exp_of_negative, gelu

POINTS = np.concatenate([np.linspace(-12, 12, 2401), [-1e30, -100.0, 0.0, 100.0, 1e30]])


def exact(x: float) -> float:
    return x * 0.5 * math.erfc(-x / math.sqrt(2))


def slope(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2)) + x * math.exp(-min(x * x, 1e3) / 2) / math.sqrt(2 * math.pi)


def test_gelu_is_exact_to_a_millionth() -> None:
    got = np.array(gelu(mx.array(POINTS.astype(np.float32))))
    want = np.array([exact(float(np.float32(x))) for x in POINTS])
    np.testing.assert_allclose(got, want, atol=2e-6, rtol=1e-6)


def test_its_gradient_is_the_slope() -> None:
    points = POINTS[np.abs(POINTS) <= 100]
    got = np.array(mx.grad(lambda x: gelu(x).sum())(mx.array(points.astype(np.float32))))
    np.testing.assert_allclose(got, [slope(x) for x in points], atol=5e-6)


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
def test_half_precision_keeps_its_dtype(dtype: mx.Dtype) -> None:
    x = mx.linspace(-4, 4, 65).astype(dtype)
    assert gelu(x).dtype == dtype
    assert mx.array_equal(gelu(x), nn.gelu(x))


def test_the_exponential_from_multiplications_is_close_and_never_negative() -> None:
    x = np.linspace(-200, 0, 4001, dtype=np.float32)
    got = np.array(exp_of_negative(mx.array(x)))
    np.testing.assert_allclose(got, np.exp(x.astype(np.float64)), rtol=2e-4, atol=4e-9)
    assert (got >= 0).all()
