"""Another process's run, read from its folder while it grows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_mixer.errors import MixerError
from mlx_mixer.training.follow import RunFollower, check_run

NOW = 1_800_000_000.0


def begin(folder: Path, steps: int = 100, kind: str = "language") -> Path:
    (folder / "training").mkdir(parents=True)
    (folder / "training" / "settings.json").write_text(json.dumps({"kind": kind, "steps": steps}))
    return folder


def write(folder: Path, *entries: dict[str, float], mode: str = "a") -> None:
    with (folder / "training_log.jsonl").open(mode) as log:
        log.write("".join(json.dumps(entry) + "\n" for entry in entries))
    os.utime(folder / "training_log.jsonl", (NOW, NOW))


def add(folder: Path, text: str) -> None:
    with (folder / "training_log.jsonl").open("a", encoding="utf-8") as log:
        log.write(text)


def step(number: int, loss: float = 3.0) -> dict[str, float]:
    return {"step": number, "loss": loss, "tokens": 100, "seconds": 0.5}


def test_a_run_is_followed_from_nothing_to_its_end(tmp_path: Path) -> None:
    folder = begin(tmp_path / "run")
    follower = RunFollower(folder)
    assert follower.look(NOW).status == "waiting"
    write(folder, step(1, 5.0), step(2, 4.0), {"step": 2, "score": -2.5})
    view = follower.look(NOW + 1)
    assert (view.status, view.step, view.steps, view.losses) == ("training", 2, 100, [5.0, 4.0])
    assert view.best == (2, -2.5)
    assert view.measure.text(-2.5) == "2.5000 bits per byte of held-out text"
    assert (view.tokens_per_second, view.seconds_left, view.loss) == (200.0, 49.0, 4.5)
    write(folder, step(3, 3.0), {"step": 3, "score": -3.0, "average_score": -2.0}, {"step": 4, "score": -2.2})
    view = follower.look(NOW + 1)
    assert view.losses == [5.0, 4.0, 3.0]
    assert view.best == (3, -2.0)
    assert follower.look(NOW + 61).status == "quiet"
    (folder / "training_report.json").write_text(json.dumps({"kind": "language", "steps": 3}))
    assert follower.look(NOW + 61).status == "ended"


def test_a_line_that_is_not_whole_yet_is_read_once_it_is(tmp_path: Path) -> None:
    folder = begin(tmp_path / "run")
    follower = RunFollower(folder)
    whole = json.dumps(step(1))
    (folder / "training_log.jsonl").write_text(whole[:20])
    assert follower.look(NOW).losses == []
    add(folder, f"{whole[20:]}\n")
    assert follower.look(NOW).losses == [3.0]
    assert follower.look(NOW).losses == [3.0]


def test_steps_that_are_done_again_after_a_kill_are_counted_once(tmp_path: Path) -> None:
    folder = begin(tmp_path / "run")
    follower = RunFollower(folder)
    write(folder, *(step(number) for number in range(1, 8)))
    assert follower.look(NOW).step == 7
    # As a run that goes on does: the log up to the checkpoint takes the old one's place.
    (folder / "new").write_text("".join(json.dumps(step(number, 2.0)) + "\n" for number in range(1, 6)))
    (folder / "new").replace(folder / "training_log.jsonl")
    assert follower.look(NOW).losses == [2.0] * 5


@pytest.mark.parametrize("line", ["nonsense", "[1]", '{"loss": 1}', '{"step": "x", "loss": 1}', "\x00\xff"])
def test_lines_of_another_kind_are_passed_over(tmp_path: Path, line: str) -> None:
    folder = begin(tmp_path / "run")
    write(folder, step(1))
    add(folder, f"{line}\n")
    write(folder, step(2))
    assert RunFollower(folder).look(NOW).losses == [3.0, 3.0]


def test_only_folders_of_runs_are_accepted(tmp_path: Path) -> None:
    with pytest.raises(MixerError, match="give what --out names"):
        check_run(tmp_path)
    check_run(begin(tmp_path / "run"))


def test_following_imports_no_mlx() -> None:
    code = "import sys, mlx_mixer.training.follow, mlx_mixer.training.braille; sys.exit('mlx.core' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
