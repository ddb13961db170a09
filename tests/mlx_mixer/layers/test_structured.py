"""Structured token mixing against loops in float64, on whole windows and one position at a time."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from mlx_mixer.kernels.recurrence import CHUNK
from mlx_mixer.layers.structured import StructuredTokenMixing, clip_inclusive
from mlx_mixer.layers.token_mixing import TokenMixing, make_token_mixing
from tests.mlx_mixer.layers.structured_reference import slow_structured
from tests.tiny import STRUCTURED, TOEPLITZ, tiny_config, tiny_model

EVERY = {**STRUCTURED, **TOEPLITZ}
WITH_DECAY = [form for form in STRUCTURED if form.endswith("decay")]


def as_numpy(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: as_numpy(value) for name, value in tree.items()}
    return np.array(tree, np.float64)


def mixing_of(form: str, **changes: Any) -> Any:
    return tiny_model(**EVERY[form], **changes).layers[0].token_mixing


def one_by_one(mixing: TokenMixing, x: mx.array) -> mx.array:
    """Decode with the entries of the cache, as the compiled step of a model does."""
    cache = mixing.make_cache()
    outputs = []
    for position in range(x.shape[1]):
        row = x[:, position : position + 1]
        step = mixing.step_cache(mx.array([position]), cache.enter_step(mixing.mixings, row))
        outputs.append(mixing(row, step))
        cache.leave_step(step.entries)
    return mx.concatenate(outputs, axis=1)


@pytest.mark.parametrize("form", EVERY)
@pytest.mark.parametrize("length", [1, 7, 24])
def test_every_form_follows_its_equation(form: str, length: int) -> None:
    mixing = mixing_of(form)
    x = mx.random.normal((2, length, 16), key=mx.random.key(1))
    parameters = as_numpy(mixing.parameters())
    expected = [slow_structured(tiny_config(**EVERY[form]), parameters, np.array(row, np.float64)) for row in x]
    np.testing.assert_allclose(np.array(mixing(x)), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.array(one_by_one(mixing, x)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", ["row_decay", "combined_decay", "kernel_col_decay", "mixed_heads", "diag_heads_decay"])
def test_a_full_window_of_several_chunks_is_exact_to_float32(form: str) -> None:
    """The error allowed is a millionth of the largest output: what the order of summation alone costs."""
    length = 2 * CHUNK + 5
    mixing = mixing_of(form, context_length=length)
    x = mx.random.normal((1, length, 16), key=mx.random.key(2))
    config = tiny_config(**EVERY[form], context_length=length)
    expected = slow_structured(config, as_numpy(mixing.parameters()), np.array(x[0], np.float64))
    tolerance = 1e-6 * np.abs(expected).max()
    np.testing.assert_allclose(np.array(mixing(x))[0], expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(np.array(one_by_one(mixing, x))[0], expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("form", EVERY)
def test_no_position_sees_a_later_one(form: str) -> None:
    mixing = mixing_of(form)
    x = mx.random.normal((1, 24, 16), key=mx.random.key(2))
    spoiled = mx.where(mx.arange(24)[None, :, None] >= 10, x + 100.0, x)
    np.testing.assert_array_equal(np.array(mixing(x))[:, :10], np.array(mixing(spoiled))[:, :10])


@pytest.mark.parametrize("form", EVERY)
def test_gradients_are_finite_and_reach_every_parameter(form: str) -> None:
    mixing = mixing_of(form)
    x = mx.random.normal((2, 24, 16), key=mx.random.key(3))

    def loss(parameters: dict[str, Any], rows: mx.array) -> mx.array:
        mixing.update(parameters)
        return mixing(rows).square().sum()

    by_parameters, by_rows = mx.grad(loss, argnums=(0, 1))(mixing.trainable_parameters(), x)
    assert mx.isfinite(by_rows).all().item()
    gradients = dict(tree_flatten(by_parameters))
    assert set(gradients) == {name for name, _ in tree_flatten(mixing.trainable_parameters())}
    for name, gradient in gradients.items():
        assert mx.isfinite(gradient).all().item(), name
        assert gradient.any().item(), name


@pytest.mark.parametrize("form", ["row_decay", "mixed_heads_decay", "kernel_col_decay", "toeplitz"])
def test_gradients_equal_finite_differences(form: str) -> None:
    mixing = mixing_of(form)
    if "decay" in mixing:
        # Inside the range, so that a small step stays there.
        mixing.decay = mx.full(mixing.decay.shape, 0.95)
    x = mx.random.normal((1, 24, 16), key=mx.random.key(4))
    aim = mx.random.normal((1, 24, 16), key=mx.random.key(5))
    original = mixing.trainable_parameters()

    def loss(parameters: dict[str, Any]) -> mx.array:
        mixing.update(parameters)
        return (mixing(x) * aim).sum()

    for name, gradient in tree_flatten(mx.grad(loss)(original)):
        if name.split(".")[0] in ("in_proj", "out_proj"):
            continue
        direction = mx.random.normal(gradient.shape, key=mx.random.key(6))
        ends = [loss({**original, name: original[name] + sign * 1e-2 * direction}).item() for sign in (1, -1)]
        assert (gradient * direction).sum().item() == pytest.approx((ends[0] - ends[1]) / 2e-2, rel=2e-2, abs=2e-2)


@pytest.mark.parametrize("form", STRUCTURED)
def test_weights_of_zero_are_harmless(form: str) -> None:
    """Upstream recovers the state of a col mixer by dividing by the weight; ours is never divided."""
    mixing = mixing_of(form)
    mixing.weight = mx.where(mx.arange(24) % 3 == 0, 0.0, mixing.weight * 1e-6)
    x = mx.random.normal((1, 24, 16), key=mx.random.key(7))
    expected = slow_structured(
        tiny_config(**STRUCTURED[form]), as_numpy(mixing.parameters()), np.array(x[0], np.float64)
    )
    for got in (mixing(x), one_by_one(mixing, x)):
        np.testing.assert_allclose(np.array(got)[0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("form", WITH_DECAY)
def test_decay_outside_its_range_counts_as_its_ends(form: str) -> None:
    mixing = mixing_of(form)
    x = mx.random.normal((1, 24, 16), key=mx.random.key(8))
    outputs = []
    for stored in (0.3, 0.9, 1.0, 1.7):
        mixing.decay = mx.full(mixing.decay.shape, stored)
        outputs.append(np.array(mixing(x)))
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[2], outputs[3])
    assert not np.allclose(outputs[1], outputs[2])


def test_the_range_of_decay_is_that_of_the_config() -> None:
    mixing = mixing_of("row_decay", decay_clip=(0.95, 0.99))
    x = mx.random.normal((1, 24, 16), key=mx.random.key(8))
    mixing.decay = mx.array([[0.9]])
    got = np.array(mixing(x))
    mixing.decay = mx.array([[0.95]])
    np.testing.assert_array_equal(got, np.array(mixing(x)))


def test_decay_learns_from_where_it_starts() -> None:
    """It starts at the end of its range, where the usual clip has no gradient."""
    mixing = make_token_mixing(tiny_config(**STRUCTURED["row_decay"]))
    assert isinstance(mixing, StructuredTokenMixing)
    assert mixing.decay.tolist() == [[1.0]]
    x = mx.random.normal((1, 24, 16), key=mx.random.key(9))

    def loss(decay: mx.array) -> mx.array:
        mixing.decay = decay
        return mixing(x).square().sum()

    assert mx.grad(loss)(mx.array([[1.0]])).item() != 0
    assert mx.grad(lambda value: clip_inclusive(value, 0.9, 1.0))(mx.array(1.1)).item() == 0


def test_half_precision_keeps_its_dtype_and_a_state_in_float32() -> None:
    for dtype in (mx.float16, mx.bfloat16):
        mixing = tiny_model(dtype=dtype, **STRUCTURED["mixed_heads_decay"]).layers[0].token_mixing
        rows = mx.ones((1, 5, 16), dtype)
        cache = mixing.make_cache()
        assert mixing(rows, cache).dtype == dtype
        cache.advance(5)
        assert cache.state[0].dtype == mx.float32
        assert one_by_one(mixing, rows).dtype == dtype


def test_factors_near_one_are_not_rounded_to_half_precision() -> None:
    """A root of high order lies so close to 1 that float16 cannot tell it from 1."""
    mixing = tiny_model(dtype=mx.float16, **STRUCTURED["row_decay"] | {"decay_constant": 512.0}).layers[0].token_mixing
    (recurrence,) = mixing.mixings()
    assert recurrence.decay.item() == pytest.approx(mixing.decay.item() ** (1 / 512), rel=1e-6)


def test_parallel_heads_share_one_decay() -> None:
    assert mixing_of("parallel_heads_decay").decay.shape == (1, 1)
    assert mixing_of("mixed_heads_decay").decay.shape == (4, 1)
    assert mixing_of("combined_heads_decay").decay.shape == (2, 2)
