"""The probe that runs on a user's machine, tried on our kernels under the emulator."""

from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import pytest

from mlx_mixer.kernels import mix_step_metal
from mlx_mixer.kernels.choose import Chooser
from mlx_mixer.kernels.mix_step import MIX_STEP_TWINS, mix_step_plain
from mlx_mixer.kernels.verdicts import VerdictStore
from tests.metal.mutants import STEP_MUTANTS, mutated
from tests.metal.stand_in import StandIn

SMALL = {"batch": 1, "dims": 8, "heads": 1, "normalise": 1, "residual": 1}
DTYPES = (mx.float32,)


@pytest.fixture
def chooser(emulator: StandIn, tmp_path: Path) -> Chooser:
    return Chooser(VerdictStore(tmp_path / "kernels.json"), environ={}, is_usable=lambda: True)


def test_an_emulated_kernel_is_right_but_too_slow(chooser: Chooser) -> None:
    verdict = chooser.decide(MIX_STEP_TWINS, SMALL, DTYPES)
    assert verdict.reason == "plain MLX is as fast"
    assert verdict.max_error is not None
    assert verdict.max_error < 1e-5
    assert verdict.speed_ratio is not None
    assert verdict.speed_ratio < 1


def test_a_broken_kernel_leaves_the_plain_form(chooser: Chooser, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user would see if a kernel were wrong on a machine of theirs: nothing."""
    bug = next(mutant for mutant in STEP_MUTANTS if mutant.name == "misses the row before")
    broken = replace(mix_step_metal.MIX_STEP, body=mutated(mix_step_metal.MIX_STEP.body, bug))
    monkeypatch.setattr(mix_step_metal, "MIX_STEP", broken)
    assert chooser.choose(MIX_STEP_TWINS, SMALL, DTYPES) is mix_step_plain
    assert "disagrees" in chooser.decide(MIX_STEP_TWINS, SMALL, DTYPES).reason
