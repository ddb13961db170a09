"""Averages of weights, against sums in float64, and what becomes of them in a run."""

from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import numpy as np
import numpy.typing as npt
import pytest
from mlx import nn

from mlx_mixer.errors import UsageError
from mlx_mixer.training.averaging import Averaging, WeightAverage
from mlx_mixer.training.loop import LoopSettings, StepReport, TrainingSummary, train
from mlx_mixer.training.run_folder import RunFolder


@pytest.fixture(autouse=True)
def _uncompiled() -> Iterator[None]:
    mx.disable_compile()
    yield
    mx.enable_compile()


def averaged(kind: Averaging, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if kind == "ema":
        average = np.zeros_like(weights[0])
        for number, weight in enumerate(weights, start=1):
            decay = min(0.99, (1 + number) / (10 + number))
            average = decay * average + (1 - decay) * weight
        return average
    # The last 30 % of 10 steps, and the one they start from.
    return weights[6:].mean(axis=0)


@pytest.mark.parametrize("kind", ["ema", "tail"])
def test_an_average_is_its_equation_and_survives_a_checkpoint(kind: Averaging) -> None:
    model = nn.Linear(3, 2)
    model.update({"weight": mx.zeros((2, 3)), "bias": mx.zeros(2)})
    weights = np.random.default_rng(0).standard_normal((10, 2, 3))
    average = WeightAverage(model, kind, 10)
    for step, weight in enumerate(weights, start=1):
        model.weight = mx.array(weight, mx.float32)
        average.update(step)
        if step == 5:
            assert average.differs(step) == (kind == "ema")
            saved, average = average.state, WeightAverage(model, kind, 10)
            average.state = saved
    assert average.differs(10)
    np.testing.assert_allclose(np.array(average.state["weight"]), averaged(kind, weights), atol=1e-6)
    with average.in_place():
        np.testing.assert_allclose(np.array(model.weight), averaged(kind, weights), atol=1e-6)
    np.testing.assert_array_equal(np.array(model.weight), weights[-1].astype(np.float32))


def noisy_run(
    out: Path, average: Averaging, *, resume: bool = False, stop_at: int = 0
) -> tuple[TrainingSummary, float, RunFolder]:
    """A line through points with so large a rate that the last weights are off, on one side or the other."""
    mx.random.seed(0)
    model = nn.Linear(1, 1, bias=False)

    def batch_at(step: int) -> tuple[tuple[mx.array, mx.array], int]:
        rng = np.random.default_rng(step)
        x = rng.standard_normal((4, 1))
        return (mx.array(x, mx.float32), mx.array(2 * x + rng.standard_normal((4, 1)), mx.float32)), 4

    def report(entry: StepReport) -> None:
        if entry.step == stop_at:
            raise KeyboardInterrupt

    folder = RunFolder(out)
    folder.open({}, resume=resume)
    settings = LoopSettings(
        steps=60, learning_rate=0.3, warmup_steps=0, schedule="constant", average=average, validate_every=60
    )
    summary = train(
        model,
        lambda model, x, y: ((model(x) - y) ** 2).mean(),
        batch_at,
        settings,
        folder,
        report=report,
        validate=lambda: -abs(model.weight.item() - 2),
    )
    return summary, model.weight.item(), folder


@pytest.mark.parametrize("kind", ["ema", "tail"])
def test_the_average_is_kept_where_it_is_better(tmp_path: Path, kind: Averaging) -> None:
    plain, _, _ = noisy_run(tmp_path / "plain", "none")
    better, weight, folder = noisy_run(tmp_path / kind, kind)
    entry = folder.entries()[-1]
    assert entry["score"] == pytest.approx(plain.best_score)
    assert better.best_score == entry["average_score"] > entry["score"]
    assert -abs(weight - 2) == pytest.approx(better.best_score)


def test_a_resumed_run_has_the_same_average(tmp_path: Path) -> None:
    whole, weight, _ = noisy_run(tmp_path / "whole", "ema")
    with pytest.raises(KeyboardInterrupt):
        noisy_run(tmp_path / "cut", "ema", stop_at=33)
    resumed, same_weight, _ = noisy_run(tmp_path / "cut", "ema", resume=True)
    assert resumed.best_score == pytest.approx(whole.best_score, rel=1e-5)
    assert same_weight == pytest.approx(weight, rel=1e-5)


def test_an_average_needs_a_judge(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out")
    folder.open({}, resume=False)
    with pytest.raises(UsageError, match="give data to validate on"):
        train(
            nn.Linear(1, 1),
            lambda model, x: model(x).sum(),
            lambda _: ((mx.ones((1, 1)),), 1),
            LoopSettings(steps=1, average="ema"),
            folder,
            report=lambda _: None,
        )
    with pytest.raises(UsageError, match="average is 'mean'"):
        LoopSettings(steps=1, average="mean")  # type: ignore[arg-type]
