"""Token mixing against loops in float64 that follow the equations letter by letter."""

import math
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt
import pytest

from mlx_mixer.kernels.masked_matmul import masked_matmul
from mlx_mixer.layers.token_mixing import make_token_mixing
from tests.tiny import FORMS, tiny_config, tiny_model

Array = npt.NDArray[np.float64]


def slow_conv(weight: Array, bias: Array, x: Array) -> Array:
    """b[t] + sum over s <= t and taps j of C[j, t, s] x[s, e + j - (k - 1) // 2], zero outside the features."""
    taps, length, _ = weight.shape
    rows, dims = x.shape
    out = np.zeros((rows, dims))
    for t in range(rows):
        for e in range(dims):
            total = bias[t]
            for s in range(t + 1):
                for j in range(taps):
                    feature = e + j - (taps - 1) // 2
                    if 0 <= feature < dims:
                        total += weight[j, t, s] * x[s, feature]
            out[t, e] = total
    assert length >= rows
    return out


def slow_mixing(parameters: dict[str, Any], x: Array) -> Array:
    """Whatever the parameters' names say, one text at a time."""
    p = parameters
    if "inner_weight" in p:
        return slow_expanded(p, x)
    if p["weight"].ndim == 4:
        heads, width = p["weight"].shape[0], x.shape[1] // p["weight"].shape[0]
        projected = x @ p["in_proj"]["weight"].T + p["in_proj"]["bias"]
        mixed = [
            slow_conv(p["weight"][h], p["bias"][h], projected[:, h * width : (h + 1) * width]) for h in range(heads)
        ]
        return np.concatenate(mixed, axis=1) @ p["out_proj"]["weight"].T + p["out_proj"]["bias"]
    mixed_rows = slow_conv(p["weight"], p["bias"], x)
    if "out_proj" in p:
        return mixed_rows @ p["out_proj"]["weight"].T + p["out_proj"]["bias"]
    return mixed_rows


def slow_expanded(p: dict[str, Any], x: Array) -> Array:
    inner_length, length = p["inner_weight"].shape
    rows = x.shape[0]
    inner = np.zeros((inner_length, x.shape[1]))
    for f in range(inner_length):
        for s in range(min(f + 1, rows)):
            inner[f] += p["inner_weight"][f, s] * x[s]
        inner[f] += p["inner_bias"][f] if "inner_bias" in p else 0.0
    activated = np.vectorize(lambda z: z * 0.5 * (1 + math.erf(z / math.sqrt(2))))(inner)
    out = np.zeros_like(x)
    for t in range(rows):
        for f in range(min(t + 1, inner_length)):
            out[t] += p["outer_weight"][t, f] * activated[f]
        out[t] += p["outer_bias"][t] if "outer_bias" in p else 0.0
    assert length >= rows
    return out


def as_numpy(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: as_numpy(value) for name, value in tree.items()}
    return np.array(tree, np.float64)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("length", [1, 7, 24])
def test_every_form_follows_its_equation(form: str, length: int) -> None:
    mixing = tiny_model(**FORMS[form]).layers[0].token_mixing
    x = mx.random.normal((2, length, 16), key=mx.random.key(1))
    expected = [slow_mixing(as_numpy(mixing.parameters()), np.array(row, np.float64)) for row in x]
    np.testing.assert_allclose(np.array(mixing(x)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_no_position_sees_a_later_one(form: str) -> None:
    """Everything from position 10 on becomes NaN; a single read of it would show."""
    mixing = tiny_model(**FORMS[form]).layers[0].token_mixing
    x = mx.random.normal((1, 24, 16), key=mx.random.key(2))
    spoiled = mx.where(mx.arange(24)[None, :, None] >= 10, x + 100.0, x)
    np.testing.assert_array_equal(np.array(mixing(x))[:, :10], np.array(mixing(spoiled))[:, :10])


@pytest.mark.parametrize("form", FORMS)
def test_gradients_reach_the_triangle_only(form: str) -> None:
    mixing = tiny_model(**FORMS[form]).layers[0].token_mixing
    x = mx.random.normal((2, 24, 16), key=mx.random.key(3))

    def loss(parameters: dict[str, Any]) -> mx.array:
        mixing.update(parameters)
        return mixing(x).square().sum()

    gradients = mx.grad(loss)(mixing.trainable_parameters())
    matrices = [value for name, value in gradients.items() if "weight" in name and isinstance(value, mx.array)]
    assert matrices
    for matrix in matrices:
        values = np.array(matrix)
        assert np.all(np.triu(values, k=1) == 0)
        assert np.any(np.tril(values) != 0)


@pytest.mark.parametrize("form", FORMS)
def test_a_forward_pass_leaves_the_weights_alone(form: str) -> None:
    mixing = tiny_model(**FORMS[form]).layers[0].token_mixing
    before = as_numpy(mixing.parameters())
    mx.eval(mixing(mx.ones((1, 24, 16))))
    after = as_numpy(mixing.parameters())
    assert str(before) == str(after)
    np.testing.assert_equal(after, before)


def test_token_mixing_starts_masked() -> None:
    for changes in FORMS.values():
        for name, value in make_token_mixing(tiny_config(**changes)).parameters().items():  # type: ignore[attr-defined]
            if "weight" in name:
                assert np.all(np.triu(np.array(value), k=1) == 0)


@pytest.mark.parametrize(("start", "rows", "seen"), [(0, 5, 5), (3, 4, 7), (6, 1, 7), (2, 1, 3)])
def test_masked_matmul_equals_the_double_loop(start: int, rows: int, seen: int) -> None:
    weight = np.array(mx.random.normal((rows, seen), key=mx.random.key(4)), np.float64)
    x = np.array(mx.random.normal((seen, 3), key=mx.random.key(5)), np.float64)
    expected = [[sum(weight[i, s] * x[s, e] for s in range(start + i + 1)) for e in range(3)] for i in range(rows)]
    got = masked_matmul(mx.array(weight.astype(np.float32)), mx.array(x.astype(np.float32)), start)
    np.testing.assert_allclose(np.array(got), expected, rtol=1e-5, atol=1e-6)
