"""Gradient descent on an input, on models whose inverse is known."""

import mlx.core as mx
import numpy as np
import pytest

from mlx_mixer.study.inversion import Descent, recover

ROWS, LENGTH, DIMS = 3, 5, 6


def orthogonal(seed: int, size: int) -> mx.array:
    return mx.array(np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0].astype(np.float32))


@pytest.mark.parametrize("descent", ["plain", "adam"])
def test_the_input_of_an_invertible_linear_model_comes_back(descent: Descent) -> None:
    mixing, features = orthogonal(0, LENGTH), orthogonal(1, DIMS)

    def model(x: mx.array) -> mx.array:
        return mixing @ x @ features

    mx.random.seed(0)
    wanted, start = mx.random.normal((ROWS, LENGTH, DIMS)), mx.random.normal((ROWS, LENGTH, DIMS))
    rates = mx.full((ROWS,), 0.02)
    found = recover(model, model(wanted), start, rates, iterations=600, descent=descent)
    np.testing.assert_allclose(found.vectors, np.array(wanted), atol=0.03)
    far = np.array(mx.abs(model(start) - model(wanted)).sum(axis=(1, 2)))
    assert (found.distances < 0.03 * far).all()


def test_plain_descent_is_the_sum_of_signed_steps() -> None:
    """Against the formula in numpy: the gradient of a sum of absolute values is their signs."""
    matrix = np.random.default_rng(4).standard_normal((DIMS, DIMS))
    wanted, x = np.random.default_rng(5).standard_normal((2, ROWS, LENGTH, DIMS))
    rates = np.array([0.01, 0.02, 0.5])
    found = recover(
        lambda rows: rows @ mx.array(matrix.astype(np.float32)),
        mx.array((wanted @ matrix).astype(np.float32)),
        mx.array(x.astype(np.float32)),
        mx.array(rates.astype(np.float32)),
        iterations=4,
        descent="plain",
    )
    for number in range(4):
        rate = rates * (4 - number) / 4 + rates / 10 * number / 4
        x = x - rate[:, None, None] * np.sign(x @ matrix - wanted @ matrix) @ matrix.T
    np.testing.assert_allclose(found.vectors, x, atol=1e-4)


def test_rows_do_not_disturb_each_other_and_a_row_that_explodes_is_infinitely_far() -> None:
    def model(x: mx.array) -> mx.array:
        return x * x * x

    mx.random.seed(1)
    wanted, start = mx.random.normal((2, LENGTH, DIMS)), mx.random.normal((2, LENGTH, DIMS))
    both = recover(model, model(wanted), start, mx.array([0.003, 1e6]), iterations=30, descent="plain")
    alone = recover(model, model(wanted)[:1], start[:1], mx.array([0.003]), iterations=30, descent="plain")
    np.testing.assert_array_equal(both.vectors[:1], alone.vectors)
    assert np.isfinite(both.distances[0])
    assert np.isinf(both.distances[1])
