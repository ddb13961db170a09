"""Results that stay."""

import json
from pathlib import Path

import pytest

from mlx_mixer.errors import UsageError
from mlx_mixer.study.cells import Cells, Work

PLAN = [Work("a", 10.0), Work("b", 30.0)]


def test_what_is_there_is_not_computed_again_and_the_rest_is(tmp_path: Path) -> None:
    cells = Cells(tmp_path / "out", {"size": (1, 2)}, PLAN, lambda _: None)
    assert cells.get("a", lambda: {"x": (1, 2)}) == {"x": [1, 2]}
    told: list[str] = []
    again = Cells(tmp_path / "out", {"size": (1, 2)}, PLAN, told.append)
    assert again.get("a", lambda: pytest.fail("computed again")) == {"x": [1, 2]}
    assert again.get("b", lambda: {"x": 3}) == {"x": 3}
    assert told[0].startswith("going on: 1 of 2 results")
    assert told[1].startswith("[2/2] b: ...")


def test_a_failure_keeps_what_was_finished(tmp_path: Path) -> None:
    cells = Cells(tmp_path / "out", {}, PLAN, lambda _: None)
    cells.get("a", lambda: {"x": 1})
    with pytest.raises(ZeroDivisionError):
        cells.get("b", lambda: {"x": 1 // 0})
    assert json.loads((tmp_path / "out" / "results.json").read_text())["cells"] == {"a": {"x": 1}}


def test_the_time_left_is_the_plan_until_more_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("mlx_mixer.study.cells.time.monotonic", lambda: now)
    told: list[str] = []
    cells = Cells(tmp_path / "out", {}, PLAN, told.append)
    cells.tell("a", 0.0, "begun", always=True)
    assert told[-1] == "[1/2] a: begun  40 s left"
    # Everything takes ten times as long as planned.
    now = 100.0
    cells.get("a", dict)
    cells.tell("b", 0.0, "begun", always=True)
    # (100 + 20) / (10 + 20) times the 30 s that were planned.
    assert told[-1] == "[2/2] b: begun  2 min left"
    cells.tell("b", 0.5, "not so soon")
    assert told[-1] == "[2/2] b: begun  2 min left"


def test_other_settings_and_other_folders_are_refused_in_one_line(tmp_path: Path) -> None:
    Cells(tmp_path / "out", {"seed": 1, "size": 2}, PLAN, lambda _: None)
    with pytest.raises(UsageError, match=r"was started with seed = 1, now it is 5; use the same settings"):
        Cells(tmp_path / "out", {"seed": 5, "size": 2}, PLAN, lambda _: None)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="holds no study; choose another folder"):
        Cells(tmp_path / "mine", {}, PLAN, lambda _: None)
    (tmp_path / "mine" / "results.json").write_text("[1]")
    with pytest.raises(UsageError, match="is not what a study wrote"):
        Cells(tmp_path / "mine", {}, PLAN, lambda _: None)
