"""Every injected bug is noticed, by the check it was meant for; a harness that lets one through is no evidence."""

from dataclasses import replace

import mlx.core as mx
import pytest

from mlx_mixer.kernels import masked_metal, mix_step_metal
from mlx_mixer.kernels.metal_source import MetalSource
from tests.metal.cases import check_outer, check_product, check_step
from tests.metal.mutants import MUTANTS, STEP_MUTANTS, Mutant, mutated
from tests.metal.stand_in import StandIn

HOMES = {
    "step": (mix_step_metal, "MIX_STEP"),
    "product": (masked_metal, "MASKED_PRODUCT"),
    "outer": (masked_metal, "MASKED_OUTER"),
}


def exercise(kernel: str) -> None:
    """Calls that between them leave no bug unseen; bfloat16 first, the strictest about types."""
    for dtype in (mx.bfloat16, mx.float32):
        if kernel == "step":
            check_step((1, 1, 3), dtype, 1)
            check_step((1, 1, 300), dtype, 35)
            for position in (44, 31, 32):
                check_step((2, 2, 20), dtype, position)
        elif kernel == "product":
            check_product((1, 1, 2, 2, 3, 0), dtype)
            for shape in ((2, 2, 37, 45, 20, 8), (1, 3, 40, 33, 9, 0)):
                check_product(shape, dtype)
        else:
            for shape in ((2, 2, 37, 45, 20, 8), (1, 3, 40, 33, 9, 0)):
                check_outer(shape, dtype)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.kernel}: {mutant.name}")
def test_a_bug_is_caught(mutant: Mutant, emulator: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name = HOMES[mutant.kernel]
    source: MetalSource = getattr(module, name)
    place = "body" if mutant.old in source.body else "header"
    monkeypatch.setattr(module, name, replace(source, **{place: mutated(getattr(source, place), mutant)}))
    with pytest.raises(AssertionError) as caught:
        exercise(mutant.kernel)
    assert mutant.caught_by in str(caught.value)


@pytest.mark.parametrize("kernel", HOMES)
def test_the_kernels_themselves_pass(kernel: str, emulator: StandIn) -> None:
    exercise(kernel)


def test_a_grid_counted_in_threadgroups_is_caught(emulator: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLX counts threads where CUDA counts blocks."""
    monkeypatch.setattr(mix_step_metal, "tiles", lambda *_: 1)
    with pytest.raises(AssertionError, match=r"\[unwritten\]"):
        exercise("step")


def test_there_are_enough_bugs_of_distinct_kinds() -> None:
    assert len(MUTANTS) >= 32
    assert len({(mutant.kernel, mutant.name) for mutant in MUTANTS}) == len(MUTANTS)
    assert len({mutant.caught_by for mutant in STEP_MUTANTS}) >= 8
