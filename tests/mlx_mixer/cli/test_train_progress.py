"""What a person sees while a model trains."""

import io
import re

import pytest

from mlx_mixer.cli.train_progress import CURVE_ROWS, Progress
from mlx_mixer.training.loop import StepReport


class Terminal(io.StringIO):
    """A terminal that knows the three escapes the curve uses: up, to the left, and clear what follows."""

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        """What it shows."""
        shown, row, column = [""], 0, 0
        for escape, text in re.findall(r"(\x1b\[\d*[AJ]|\r|\n)|([^\x1b\r\n]+)", self.getvalue()):
            if escape == "\r":
                column = 0
            elif escape == "\n":
                row, column = row + 1, 0
                shown += [""] * (row + 1 - len(shown))
            elif escape.endswith("A"):
                row -= int(escape[2:-1])
                assert row >= 0
            elif escape:
                shown = [*shown[:row], shown[row][:column]]
            else:
                shown[row] = shown[row][:column] + text + shown[row][column + len(text) :]
                column += len(text)
        return shown


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def step(number: int, loss: float, seconds: float = 0.5) -> StepReport:
    return StepReport(number, loss, 1e-3, 1000, seconds)


def test_lines_for_a_file_come_seldom_and_say_what_is_left() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(1000, stream, clock)
    for number in range(1, 601):
        clock.now += 0.5
        progress(step(number, 3.0))
    lines = stream.getvalue().splitlines()
    # 300 seconds, one line in five.
    assert len(lines) == 60
    assert lines[0] == "step 1/1000  loss 3.000  2,000 tokens/s  8 min left"
    assert lines[-1].startswith("step 591/1000")


def test_a_slow_first_step_does_not_set_the_forecast() -> None:
    stream = io.StringIO()
    progress = Progress(11, stream, Clock())
    progress(step(1, 3.0, seconds=100.0))
    for number in range(2, 12):
        progress(step(number, 3.0))
    assert stream.getvalue().splitlines()[0].endswith("17 min left")
    progress = Progress(100, stream, clock := Clock())
    for number in range(1, 12):
        clock.now += 10
        progress(step(number, 3.0, seconds=100.0 if number == 1 else 0.5))
    assert stream.getvalue().splitlines()[-1].endswith("44 s left")


def test_a_terminal_shows_one_curve_however_often_it_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    terminal, clock = Terminal(), Clock()
    progress = Progress(50, terminal, clock)
    for number in range(1, 51):
        clock.now += 1
        progress(step(number, 10.0 - number / 10))
    lines = terminal.lines()
    assert len(lines) == CURVE_ROWS + 1
    assert lines[0].startswith("    9.90 ")
    assert lines[-2].startswith("    5.00 ")
    assert lines[-1].startswith("step 50/50  loss 7.450")
    assert max(map(len, lines)) < 60


def test_what_is_said_in_between_stays_and_the_curve_goes_on_below_it() -> None:
    terminal, clock = Terminal(), Clock()
    progress = Progress(50, terminal, clock)
    for number in range(1, 31):
        clock.now += 1
        if number == 20:
            Progress.make_room()
            terminal.write("looking for hard negatives\n")
        progress(step(number, 3.0 + 1 / number))
    progress.leave()
    lines = terminal.lines()
    assert lines.count("looking for hard negatives") == 1
    place = lines.index("looking for hard negatives")
    assert lines[place - 1].startswith("step 19/50")
    assert lines[-2].startswith("step 30/50")
    assert lines[-1] == ""
    assert len(lines) == 2 * (CURVE_ROWS + 1) + 2


def test_a_narrow_window_gets_the_line_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "16")
    terminal, clock = Terminal(), Clock()
    progress = Progress(9, terminal, clock)
    for number in range(1, 10):
        clock.now += 1
        progress(step(number, 3.0))
    assert terminal.lines() == ["step 9/9  loss "]
