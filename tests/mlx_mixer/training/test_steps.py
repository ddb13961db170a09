"""A step is that of its whole batch, however the batch is computed."""

import sys
from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx import nn
from mlx.utils import tree_flatten

from mlx_mixer.errors import UsageError
from mlx_mixer.models.language import IGNORED_LABEL
from mlx_mixer.training.gradients import gradients_in
from mlx_mixer.training.language import language_loss, split_targets
from mlx_mixer.training.loop import LoopSettings
from mlx_mixer.training.loop_settings import learning_rate_at
from mlx_mixer.training.optimizer import RatedAdamW
from mlx_mixer.training.precision import resolve_precision
from mlx_mixer.training.ranks import ALONE
from mlx_mixer.training.splitting import Batch, split_rows
from mlx_mixer.training.steps import make_step
from tests.tiny import tiny_model

STEPS = 3


def batch_of(rows: int) -> Batch:
    """Windows of different lengths, so that parts do not count alike."""
    rng = np.random.default_rng(rows)
    ids = rng.integers(0, 64, (rows, 12)).astype(np.int32)
    labels = ids.copy()
    for row in range(rows):
        labels[row, 2 + 3 * row % 10 :] = IGNORED_LABEL
    return mx.array(ids), mx.array(labels)


def trained(
    accumulate: int, rows: int = 7, lanes: int = 1, dtype: mx.Dtype = mx.float32
) -> tuple[list[float], dict[str, mx.array]]:
    model = tiny_model()
    optimizer = RatedAdamW(LoopSettings(steps=STEPS))
    optimizer.init(model.trainable_parameters())
    step = make_step(
        model,
        optimizer,
        gradients_in(model, language_loss, dtype),
        0.5,
        accumulate=accumulate,
        ranks=ALONE,
        split=split_targets,
        lanes=lanes,
    )
    outcomes = [step(1e-2, batch_of(rows)) for _ in range(STEPS)]
    found = [value for outcome in outcomes for value in (outcome.loss, outcome.gradient_norm)]
    return found, dict(tree_flatten(model.parameters()))


@pytest.mark.parametrize(("accumulate", "rows"), [(3, 7), (4, 2)])
def test_accumulated_parts_move_the_weights_as_their_whole_batch_does(accumulate: int, rows: int) -> None:
    """Also where parts are of different sizes, and where there are fewer windows than parts."""
    expected, whole = trained(1, rows)
    found, weights = trained(accumulate, rows)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for name, array in whole.items():
        np.testing.assert_allclose(np.array(weights[name]), np.array(array), rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(("accumulate", "rows", "lanes"), [(1, 7, 2), (1, 7, 3), (1, 2, 4), (1, 1, 2), (2, 7, 2)])
def test_lanes_move_the_weights_as_their_whole_batch_does(accumulate: int, rows: int, lanes: int) -> None:
    """Also where there are fewer windows than lanes, and where parts of a batch fall into lanes again."""
    expected, whole = trained(1, rows)
    found, weights = trained(accumulate, rows, lanes)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for name, array in whole.items():
        np.testing.assert_allclose(np.array(weights[name]), np.array(array), rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_lanes_of_a_thread_share_their_streams() -> None:
    """Each stream has a thread of its own that never ends."""
    trained(1, lanes=3)
    threads = len(list(Path("/proc/self/task").iterdir()))
    trained(1, lanes=3)
    assert len(list(Path("/proc/self/task").iterdir())) == threads


def test_lanes_round_what_they_compute_as_a_whole_batch_is_rounded() -> None:
    expected, _ = trained(1, dtype=mx.bfloat16)
    found, weights = trained(1, lanes=2, dtype=mx.bfloat16)
    np.testing.assert_allclose(found, expected, rtol=2e-2)
    assert all(array.dtype == mx.float32 for array in weights.values())


def test_a_step_takes_the_gradient_that_differences_show() -> None:
    """Against the loss itself, evaluated on either side of the weights along the gradient, for the norm it reports."""
    model = tiny_model()
    gradients_of = gradients_in(model, language_loss, mx.float32)
    _, gradients = gradients_of(model, *batch_of(5))
    flat: dict[str, mx.array] = dict(tree_flatten(gradients))
    norm = float(np.sqrt(sum(np.square(np.array(array, np.float64)).sum() for array in flat.values())))
    before: dict[str, mx.array] = dict(tree_flatten(model.parameters()))
    sides = []
    for sign in (1, -1):
        model.load_weights([(name, before[name] + sign * 1e-2 / norm * flat[name]) for name in before])
        sides.append(language_loss(model, *batch_of(5)).item())
    assert (sides[0] - sides[1]) / 2e-2 == pytest.approx(norm, rel=1e-2)


@pytest.mark.parametrize(
    ("schedule", "share"),
    [
        ("constant", lambda progress: 1 + 0 * progress),
        ("linear", lambda progress: 1 - 0.9 * progress),
        ("cosine", lambda progress: 0.55 + 0.45 * np.cos(np.pi * progress)),
    ],
)
def test_rates_rise_in_a_line_and_then_follow_the_schedule(schedule: str, share: Callable[[float], float]) -> None:
    settings = LoopSettings(steps=110, learning_rate=0.5, warmup_steps=10, schedule=schedule)  # type: ignore[arg-type]
    rates = [learning_rate_at(step, settings) for step in range(110)]
    np.testing.assert_allclose(rates[:10], 0.5 * np.arange(1, 11) / 10)
    np.testing.assert_allclose(rates[10:], [0.5 * share(step / 100) for step in range(100)])


def test_the_warm_rate_reaches_the_optimiser() -> None:
    optimizer = RatedAdamW(LoopSettings(steps=1, embedding_rate=0.25))
    optimizer.set_rate(0.5)
    assert [part.learning_rate.item() for part in optimizer.optimizers] == [0.125, 0.5]


def test_bfloat16_passes_leave_float32_weights_and_nearly_the_same_gradients() -> None:
    model = tiny_model()
    model.embed_tokens.freeze()
    before: dict[str, mx.array] = dict(tree_flatten(model.parameters()))
    exact_loss, exact = gradients_in(model, language_loss, mx.float32)(model, *batch_of(6))
    rough_loss, rough = gradients_in(model, language_loss, mx.bfloat16)(model, *batch_of(6))
    found: dict[str, mx.array] = dict(tree_flatten(rough))
    assert rough_loss.item() == pytest.approx(exact_loss.item(), rel=0.02)
    assert rough_loss.item() != exact_loss.item()
    for name, array in tree_flatten(exact):
        assert found[name].dtype == mx.float32
        expected, got = np.array(array).ravel(), np.array(found[name]).ravel()
        assert expected @ got > 0.99 * np.linalg.norm(expected) * np.linalg.norm(got), name
    for name, array in tree_flatten(model.parameters()):
        assert array.dtype == mx.float32
        assert mx.array_equal(array, before[name])


def test_steps_too_small_for_bfloat16_are_not_lost() -> None:
    """Rounded to 8 bits, a weight of 1 would never move by a thousandth."""

    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = mx.array([1.0])

    def loss(model: nn.Module, batch: mx.array) -> mx.array:
        return (model.weight * batch).sum()

    ends = []
    for dtype in (mx.float32, mx.bfloat16):
        model = Scale()
        optimizer = RatedAdamW(LoopSettings(steps=5, weight_decay=0))
        optimizer.init(model.trainable_parameters())
        gradients_of = gradients_in(model, loss, dtype)
        step = make_step(model, optimizer, gradients_of, 1.0, ranks=ALONE, split=split_rows)
        for _ in range(5):
            step(1e-4, [mx.ones((1,))])
        ends.append(model.weight.item())
    assert ends[1] == pytest.approx(ends[0], abs=1e-6)
    assert ends[1] < 1 - 4e-4


def test_bfloat16_is_refused_where_it_is_slow() -> None:
    assert mx.default_device() == mx.cpu, "the tests run on the CPU everywhere"
    with pytest.raises(UsageError, match="many times slower than float32"):
        resolve_precision("bfloat16")
    assert resolve_precision("auto") == resolve_precision("float32") == mx.float32


@pytest.mark.parametrize("changes", [{"accumulate": 0}, {"schedule": "square"}, {"precision": "float16"}])
def test_dials_out_of_range_are_one_clear_line(changes: dict[str, object]) -> None:
    name, value = next(iter(changes.items()))
    with pytest.raises(UsageError, match=f"{name} is {value!r}"):
        LoopSettings(steps=1, **changes)  # type: ignore[arg-type]
