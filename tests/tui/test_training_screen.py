"""Following a training run from the app."""

import json
import os
from pathlib import Path

import pytest

from tests.tui.conftest import AppFactory
from tests.tui.helpers import screen_text, started, type_text, wait_for_text, wait_until
from tests.tui.scripted_engine import ScriptedEngine
from tui.screens import training
from tui.screens.training import TrainingScreen
from tui.screens.write import WriteScreen


def write_run(folder: Path, steps: int, done: int) -> None:
    """A run of a language model whose loss falls, with a validation every 50 steps."""
    (folder / "training").mkdir(parents=True, exist_ok=True)
    (folder / "training" / "settings.json").write_text(json.dumps({"kind": "language", "steps": steps}))
    lines: list[dict[str, float]] = []
    for step in range(1, done + 1):
        lines.append({"step": step, "loss": 4 + 5 * 0.98**step, "tokens": 4000, "seconds": 2.0})
        if step % 50 == 0:
            lines.append({"step": step, "score": -2.5 + step / 1000})
    (folder / "training_log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _words(app: object) -> str:
    """What the screen shows without frames and line breaks."""
    return " ".join(screen_text(app).replace("│", " ").split())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "LOOK_SECONDS", 0.05)


async def test_a_run_is_chosen_by_its_folder_and_followed(
    make_app: AppFactory, engine: ScriptedEngine, tmp_path: Path
) -> None:
    write_run(tmp_path / "run", 400, 100)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await started(pilot, engine)
        await pilot.press("ctrl+p")
        await type_text(pilot, "follow")
        await wait_for_text(pilot, "follow a training run")
        await pilot.press("down", "enter")
        await wait_for_text(pilot, "Follow a training run")
        await type_text(pilot, str(tmp_path / "run"))
        await pilot.press("enter")
        await wait_for_text(pilot, "step 100 of 400   10 min left")
        text = screen_text(app)
        assert "● training" in text
        assert "speed 2,000 tokens/s" in text
        assert "best  2.4000 bits per byte of held-out text (step 100)" in text
        assert "⠀" in text
        write_run(tmp_path / "run", 400, 200)
        await wait_for_text(pilot, "step 200 of 400")
        (tmp_path / "run" / "training_report.json").write_text(json.dumps({"kind": "language", "steps": 200}))
        await wait_for_text(pilot, "✓ ended")
        await pilot.press("escape")
        await wait_until(pilot, lambda: isinstance(app.screen, WriteScreen))


async def test_a_folder_without_a_run_is_refused_in_the_dialog(
    make_app: AppFactory, engine: ScriptedEngine, tmp_path: Path
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await started(pilot, engine)
        app.action_follow_run()
        await wait_for_text(pilot, "Follow a training run")
        await type_text(pilot, str(tmp_path))
        await pilot.press("enter")
        # The path is of any length, so the line breaks anywhere.
        await wait_until(pilot, lambda: "give what --out names" in _words(app))


async def test_a_run_before_its_first_step_and_a_quiet_one_say_so(
    make_app: AppFactory, engine: ScriptedEngine, tmp_path: Path
) -> None:
    folder = tmp_path / "[red]run"
    write_run(folder, 400, 0)
    (folder / "training_log.jsonl").unlink()
    app = make_app()
    async with app.run_test(size=(60, 12)) as pilot:
        await started(pilot, engine)
        await app.push_screen(TrainingScreen(folder))
        await wait_for_text(pilot, "○ waiting for the first step")
        assert "Nothing is logged yet." in screen_text(app)
        write_run(folder, 400, 10)
        os.utime(folder / "training_log.jsonl", (0, 0))
        await wait_for_text(pilot, "○ no step for some time")
        assert "min left" not in screen_text(app)
