"""A conversion is compared with its source, and one that differs is refused."""

from pathlib import Path
from typing import Any

import pytest

from convert import convert_checkpoint
from convert.containers import open_checkpoint
from convert.hints import Hints
from convert.plan import plan_conversion
from convert.verify import VerifyReport, verify_conversion
from tests.convert.golden import CASES, checkpoint, needed_hints

CONVERTIBLE = [name for name, case in CASES.items() if "io" in case]


def verified(folder: Path, source: Path, *, quantized: bool = False, **hints: Any) -> VerifyReport:
    with open_checkpoint(source) as opened:
        plan = plan_conversion(opened, source, Hints.from_mapping(hints))
        return verify_conversion(folder, opened, plan, quantized=quantized)


@pytest.mark.parametrize("name", CONVERTIBLE)
def test_every_family_equals_its_source(name: str, tmp_path: Path) -> None:
    hints = needed_hints(name)
    convert_checkpoint(checkpoint(name), tmp_path / "out", **hints)
    report = verified(tmp_path / "out", checkpoint(name), **hints)
    print(name, report)
    assert report.max_error < report.tolerance / 10
    assert report.positions == CASES[name]["config"]["seq_len"]
