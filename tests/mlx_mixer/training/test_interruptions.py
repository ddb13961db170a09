"""Whatever ends a run, the last checkpoint is good, and going on from it is as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx import nn
from mlx.utils import tree_flatten

from mlx_mixer.checkpoint import load_language_model
from mlx_mixer.errors import MixerError
from mlx_mixer.training.interrupts import deferred_interrupts
from mlx_mixer.training.language_run import train_language
from mlx_mixer.training.loop import LoopSettings
from mlx_mixer.training.optimizer import RatedAdamW
from mlx_mixer.training.run_folder import RunFolder, RunState
from tests.mlx_mixer.training.runs import ignore, language_run, logged, same_course, write_data
from tests.tiny import tiny_model

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _uncompiled() -> Iterator[None]:
    mx.disable_compile()
    yield
    mx.enable_compile()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_data(tmp_path_factory.mktemp("interruptions") / "data")
    mx.disable_compile()
    train_language(language_run(folder, folder / "model", steps=2), resume=False, report=ignore, narrate=ignore)
    return folder


def child(kind: str, happens: str, data: Path, out: Path, *resume: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.mlx_mixer.training.interrupted", kind, happens, data, out, *resume],
        env={**os.environ, "PYTHONPATH": str(ROOT), "MLX_DISABLE_COMPILE": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


@pytest.fixture(scope="module")
def whole(data: Path) -> Path:
    """The language run that nothing happened to."""
    assert child("language", "nothing", data, data / "whole").returncode == 0
    return data / "whole"


@pytest.mark.parametrize("kind", ["accumulated", "retrieval"])
def test_a_killed_run_has_the_losses_of_an_uninterrupted_one(data: Path, tmp_path: Path, kind: str) -> None:
    whole = tmp_path / "whole"
    assert child(kind, "nothing", data, whole).returncode == 0
    check_killed(kind, data, tmp_path / "killed", whole)


def test_a_killed_language_run_has_the_losses_of_an_uninterrupted_one(data: Path, tmp_path: Path, whole: Path) -> None:
    check_killed("language", data, tmp_path / "killed", whole)


def check_killed(kind: str, data: Path, killed: Path, whole: Path) -> None:
    assert child(kind, "killed", data, killed).returncode == -signal.SIGKILL
    assert logged(killed, "step")[-1] == 17
    assert not (killed / "config.json").exists()
    assert child(kind, "nothing", data, killed, "--resume").returncode == 0
    assert logged(killed, "step") == list(range(1, 31))
    same_course(killed, whole)


def test_ctrl_c_waits_for_the_step_and_loses_nothing(data: Path, tmp_path: Path, whole: Path) -> None:
    stopped = tmp_path / "stopped"
    ended = child("language", "interrupted", data, stopped)
    assert "KeyboardInterrupt" in ended.stderr
    assert logged(stopped, "step") == list(range(1, 18))
    state: Any = mx.load(str(stopped / "training" / "state.safetensors"), return_metadata=True)
    assert json.loads(state[1]["run"])["step"] == 17
    assert child("language", "nothing", data, stopped, "--resume").returncode == 0
    same_course(stopped, whole)


def test_a_second_ctrl_c_does_not_wait() -> None:
    before = signal.getsignal(signal.SIGINT)
    with deferred_interrupts() as interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.is_requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_full_disk_ends_the_run_and_spares_the_checkpoint(data: Path, tmp_path: Path, whole: Path) -> None:
    out = tmp_path / "out"
    ended = child("language", "full", data, out)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith(f"ResourceError: {out} could not be written (")
    assert "then go on with --resume. The checkpoint of step 14 is intact." in ended.stderr
    assert not list((out / "training").glob("*.partial*"))
    assert child("language", "nothing", data, out, "--resume").returncode == 0
    same_course(out, whole)


def test_a_loss_that_is_no_number_spares_the_checkpoint(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    # A rate that rises to the absurd over the warm-up, so that the first checkpoints are sound.
    absurd = {"learning_rate": 1e34, "warmup_steps": 1_000_000_000_000_000_000, "clip_norm": 1e30}
    with pytest.raises(MixerError, match=r"became \S+ at step \d+; .* The checkpoint of step \d+ is intact") as error:
        train_language(
            language_run(data, out, checkpoint_every=1, **absurd), resume=False, report=ignore, narrate=ignore
        )
    assert not (out / "config.json").exists()
    step = RunFolder(out).load(model := load_language_model(data / "model"), optimizer_of(model)).step
    assert f"The checkpoint of step {step} is intact" in str(error.value)
    assert step >= 1
    for name, array in tree_flatten(model.parameters()):
        assert mx.isfinite(array).all().item(), name


def test_weights_that_are_no_number_never_become_a_checkpoint(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out")
    folder.open({}, resume=False)
    model = tiny_model()
    optimizer = optimizer_of(model)
    folder.save(model, optimizer, RunState(step=2))
    weight = model.layers[1].channel_mixing.up.weight
    weight[3, 4] = float("nan")
    with pytest.raises(MixerError, match=r"layers.1.channel_mixing.up.weight is not .* The checkpoint of step 2 is"):
        folder.save(model, optimizer, RunState(step=4))
    assert folder.load(tiny_model(seed=1), optimizer).step == 2


def optimizer_of(model: nn.Module) -> RatedAdamW:
    optimizer = RatedAdamW(LoopSettings(steps=1))
    optimizer.init(model.trainable_parameters())
    return optimizer
