"""`doctor` shows each kernel in each dtype."""

from pathlib import Path

import mlx.core as mx
import pytest

from mlx_mixer.kernels.choose import Chooser
from mlx_mixer.kernels.probe import Verdict
from mlx_mixer.kernels.report import KERNELS, kernel_reports
from mlx_mixer.kernels.verdicts import VerdictStore


@pytest.mark.skipif(mx.metal.is_available(), reason="says what is said where there is no Metal")
def test_without_metal_every_report_says_so() -> None:
    reports = kernel_reports()
    assert len(reports) == 3 * len(KERNELS)
    assert {(report.chosen, report.reason) for report in reports} == {("plain", "no Metal here")}


def test_each_kernel_is_tried_at_a_shape_its_forms_accept(tmp_path: Path) -> None:
    """The plain form runs in place of Metal: the inputs are what a Mac's probe would get."""
    tried = []

    def measure(twins: object, shape: object, dtype: mx.Dtype) -> Verdict:
        mx.eval(twins.plain(*twins.probe_inputs({**shape, **twins.tiny}, dtype)))  # type: ignore[attr-defined, dict-item]
        tried.append((twins.name, dtype))  # type: ignore[attr-defined]
        return Verdict(True, "agrees and is faster", 0.0, 2.0)

    store = VerdictStore(tmp_path / "kernels.json")
    reports = kernel_reports(Chooser(store, environ={}, is_usable=lambda: True, measure=measure))
    assert len(tried) == len(reports) == 3 * len(KERNELS)
    assert {report.name for report in reports} == {twins.name for twins in KERNELS}
