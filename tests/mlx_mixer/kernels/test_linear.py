"""Turned products against the ordinary ones, at every number of rows and on both sides of the limits."""

import mlx.core as mx
import numpy as np
import pytest
from mlx import nn

from mlx_mixer.kernels.linear import FEWEST_ROWS, MOST_ROWS, apply_linear, is_better_turned
from mlx_mixer.layers.channel_mixing import ChannelMixing

SHAPES = [(1, 1, 24), (FEWEST_ROWS - 1, 1, 24), (FEWEST_ROWS, 1, 24), (2, 8, 24), (MOST_ROWS, 24), (MOST_ROWS + 1, 24)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_map_is_the_same_however_it_is_computed(shape: tuple[int, ...], bias: bool) -> None:
    linear = nn.Linear(24, 40, bias=bias)
    x = mx.random.normal(shape, key=mx.random.key(1))
    expected = np.array(x, np.float64) @ np.array(linear.weight, np.float64).T
    expected = expected + np.array(linear.bias, np.float64) if bias else expected
    got = apply_linear(linear, x)
    assert got.shape == (*shape[:-1], 40)
    np.testing.assert_allclose(np.array(got), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_channel_mixing_is_the_same_for_any_number_of_rows(activation: str) -> None:
    mixing = ChannelMixing(24, 48, activation)  # type: ignore[arg-type]
    x = mx.random.normal((2 * MOST_ROWS, 24), key=mx.random.key(2))
    whole = np.array(mixing(x))
    for rows in (1, FEWEST_ROWS, MOST_ROWS, MOST_ROWS + 1):
        np.testing.assert_allclose(np.array(mixing(x[:rows])), whole[:rows], rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(mx.default_device() != mx.cpu, reason="products are turned on CPUs alone")
def test_only_plain_float32_maps_of_a_few_rows_are_turned() -> None:
    linear = nn.Linear(64, 64)
    few = mx.zeros((FEWEST_ROWS, 64))
    assert is_better_turned(few, linear)
    assert not is_better_turned(few[:1], linear)
    assert not is_better_turned(mx.zeros((MOST_ROWS + 1, 64)), linear)
    assert not is_better_turned(few.astype(mx.float16), linear)
    assert not is_better_turned(few, nn.QuantizedLinear.from_linear(linear))


def test_a_quantised_map_is_left_to_itself() -> None:
    linear = nn.QuantizedLinear.from_linear(nn.Linear(64, 64))
    x = mx.random.normal((8, 64), key=mx.random.key(3))
    np.testing.assert_array_equal(np.array(apply_linear(linear, x)), np.array(linear(x)))
