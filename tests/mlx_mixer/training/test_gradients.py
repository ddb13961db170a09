"""The loop with gradients that come from elsewhere than one differentiation."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx import nn

from mlx_mixer.training.loop import Gradients, LoopSettings, train
from mlx_mixer.training.run_folder import RunFolder


def squared_error(model: nn.Module, x: mx.array, y: mx.array) -> mx.array:
    return ((model(x) - y) ** 2).mean()


def batch_at(step: int) -> tuple[tuple[mx.array, mx.array], int]:
    rng = np.random.default_rng(step)
    x = rng.standard_normal((8, 4))
    return (mx.array(x, mx.float32), mx.array(x[:, :2] * 3, mx.float32)), 8


def weights_after_training(folder: Path, gradients: Gradients | None) -> tuple[Any, Any]:
    mx.random.seed(0)
    model = nn.Linear(4, 2)
    run = RunFolder(folder)
    run.open({}, resume=False)
    settings = LoopSettings(steps=6, warmup_steps=1, clip_norm=0.5)
    train(model, squared_error, batch_at, settings, run, report=lambda _: None, gradients=gradients)
    return np.array(model.weight), run.last_loss()


def test_gradients_from_elsewhere_take_the_same_course(tmp_path: Path) -> None:
    def in_two_halves(model: nn.Module, x: mx.array, y: mx.array) -> tuple[mx.array, Any]:
        differentiated = nn.value_and_grad(model, squared_error)
        (first, one), (second, two) = differentiated(model, x[:4], y[:4]), differentiated(model, x[4:], y[4:])
        return (first + second) / 2, {name: (one[name] + two[name]) / 2 for name in one}

    weights, loss = weights_after_training(tmp_path / "plain", None)
    same_weights, same_loss = weights_after_training(tmp_path / "elsewhere", in_two_halves)
    np.testing.assert_allclose(same_weights, weights, rtol=1e-5)
    assert same_loss == pytest.approx(loss, rel=1e-5)
