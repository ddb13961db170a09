"""Which form runs, and that nothing a kernel does can make the choice fail."""

import logging
from pathlib import Path

import mlx.core as mx
import pytest

from mlx_mixer.kernels.choose import Chooser
from mlx_mixer.kernels.probe import Verdict
from mlx_mixer.kernels.twins import Form, Shape, TwinKernel
from mlx_mixer.kernels.verdicts import VerdictStore
from tests.mlx_mixer.kernels.twins import SHAPE, double, make_twins, slowly

FLOAT = (mx.float32, mx.float32)
GOOD = Verdict(True, "agrees and is faster", 0.0, 1.5)
SLOW = Verdict(False, "plain MLX is as fast", 0.0, 0.5)
WRONG = Verdict(False, "disagrees with plain MLX", 1.0)


class Measure:
    """A probe that answers as told and counts."""

    def __init__(self, answer: Verdict) -> None:
        self.answer = answer
        self.calls = 0

    def __call__(self, twins: TwinKernel, shape: Shape, dtype: mx.Dtype) -> Verdict:
        self.calls += 1
        return self.answer


def triple(x: mx.array) -> tuple[mx.array, ...]:
    return (3 * x,)


def make_chooser(folder: Path, measure: Measure, **options: object) -> Chooser:
    settings = {"environ": {}, "is_usable": lambda: True, **options}
    return Chooser(VerdictStore(folder / "kernels.json"), measure=measure, **settings)  # type: ignore[arg-type]


def form_chosen(
    chooser: Chooser, twins: TwinKernel, dtypes: tuple[mx.Dtype, ...] = FLOAT, shape: Shape = SHAPE
) -> Form:
    return chooser.choose(twins, shape, dtypes)


def test_a_good_kernel_is_chosen_and_measured_once(tmp_path: Path) -> None:
    measure, twins = Measure(GOOD), make_twins(triple)
    chooser = make_chooser(tmp_path, measure)
    assert form_chosen(chooser, twins) is form_chosen(chooser, twins) is triple
    assert measure.calls == 1


@pytest.mark.parametrize("answer", [SLOW, WRONG])
def test_a_slow_or_wrong_kernel_is_not_chosen(answer: Verdict, tmp_path: Path) -> None:
    assert form_chosen(make_chooser(tmp_path, Measure(answer)), make_twins(triple)) is double


def test_a_verdict_outlives_the_process(tmp_path: Path) -> None:
    form_chosen(make_chooser(tmp_path, Measure(GOOD)), make_twins(triple))
    later = Measure(SLOW)
    assert form_chosen(make_chooser(tmp_path, later), make_twins(triple)) is triple
    assert later.calls == 0


@pytest.mark.parametrize("change", ["text", "shape", "dtype"])
def test_another_text_shape_or_dtype_is_measured_anew(change: str, tmp_path: Path) -> None:
    measure = Measure(GOOD)
    form_chosen(make_chooser(tmp_path, measure), make_twins(triple))
    twins = make_twins(triple, body="2" if change == "text" else "1")
    shape = {"size": 65} if change == "shape" else SHAPE
    dtypes = (mx.float16,) if change == "dtype" else FLOAT
    form_chosen(make_chooser(tmp_path, measure), twins, dtypes, shape)
    assert measure.calls == 2


def test_a_wrong_kernel_is_out_at_every_shape_but_not_for_ever(tmp_path: Path) -> None:
    measure = Measure(WRONG)
    chooser = make_chooser(tmp_path, measure)
    for size in (64, 65, 66):
        assert form_chosen(chooser, make_twins(triple), shape={"size": size}) is double
    assert measure.calls == 1
    assert form_chosen(make_chooser(tmp_path, Measure(GOOD)), make_twins(triple)) is triple


def test_a_slow_kernel_may_be_fast_at_another_shape(tmp_path: Path) -> None:
    measure = Measure(SLOW)
    chooser = make_chooser(tmp_path, measure)
    form_chosen(chooser, make_twins(triple))
    measure.answer = GOOD
    assert form_chosen(chooser, make_twins(triple), shape={"size": 4096}) is triple


def test_a_kernel_that_raises_is_replaced_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Apple's compiler speaks when the kernel is evaluated, in the middle of somebody's first sentence."""

    def broken(x: mx.array) -> tuple[mx.array, ...]:
        raise RuntimeError("[metal::Device] Unable to build metal library\nerror: ...")

    chooser = Chooser(VerdictStore(tmp_path / "kernels.json"), environ={}, is_usable=lambda: True)
    twins = make_twins(broken)
    with caplog.at_level(logging.WARNING):
        assert form_chosen(chooser, twins) is double
    assert "Unable to build metal library" in caplog.text
    report = chooser.report(twins, mx.float32)
    assert (report.chosen, report.reason) == ("plain", "failed: [metal::Device] Unable to build metal library")
    assert not (tmp_path / "kernels.json").exists()


def test_one_kernel_that_fails_does_not_hold_back_another(tmp_path: Path) -> None:
    measure = Measure(WRONG)
    chooser = make_chooser(tmp_path, measure)
    form_chosen(chooser, make_twins(triple, name="first"))
    measure.answer = GOOD
    assert form_chosen(chooser, make_twins(triple, name="second")) is triple


@pytest.mark.parametrize(
    ("options", "dtypes", "reason"),
    [
        ({"is_usable": lambda: False}, FLOAT, "no Metal here"),
        ({"environ": {"MLX_MIXER_KERNELS": "plain"}}, FLOAT, "MLX_MIXER_KERNELS=plain is set"),
        ({}, (mx.float32, mx.float16), "no kernel for mlx.core.float16 with mlx.core.float32"),
        ({}, (mx.float64,), "no kernel for mlx.core.float64"),
    ],
)
def test_some_cases_are_not_worth_a_probe(
    options: dict[str, object], dtypes: tuple[mx.Dtype, ...], reason: str, tmp_path: Path
) -> None:
    measure = Measure(GOOD)
    verdict = make_chooser(tmp_path, measure, **options).decide(make_twins(triple), SHAPE, dtypes)
    assert (verdict.metal, verdict.reason) == (False, reason)
    assert measure.calls == 0


def test_a_probe_may_run_while_a_function_is_traced(tmp_path: Path) -> None:
    """The first token is traced, and that is when the first kernel is asked for."""
    chooser = Chooser(VerdictStore(tmp_path / "kernels.json"), environ={}, is_usable=lambda: True)
    twins = make_twins(double, slowly(double))
    compiled = mx.compile(lambda x: chooser.choose(twins, SHAPE, (x.dtype,))(x)[0])
    assert compiled(mx.array([1.0, 2.0])).tolist() == [2.0, 4.0]
    assert mx.grad(lambda x: chooser.choose(twins, {"size": 9}, (x.dtype,))(x)[0].sum())(mx.array([1.0])).item() == 2.0


def test_a_report_names_what_was_measured(tmp_path: Path) -> None:
    report = make_chooser(tmp_path, Measure(GOOD)).report(make_twins(triple), mx.float16)
    assert (report.name, report.dtype, report.chosen) == ("double", "float16", "metal")
    assert (report.max_error, report.speed_ratio) == (0.0, 1.5)
