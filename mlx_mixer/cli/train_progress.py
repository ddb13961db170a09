"""How far a run is: a curve that draws itself on a terminal, a line every few seconds elsewhere."""

import shutil
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, ClassVar, TextIO

import click

from mlx_mixer.training.braille import braille_curve, shares

if TYPE_CHECKING:
    from mlx_mixer.training.loop import StepReport

# Often enough to look alive, seldom enough to cost nothing; elsewhere readable, and short in a file.
SECONDS_LIVE, SECONDS_BETWEEN_LINES = 0.25, 5.0
CURVE_ROWS, MOST_COLUMNS, LABEL_COLUMNS = 5, 72, 8
# Steps that speed and loss are of.
_RECENT = 50


class Progress:
    """Told about every step of a run.

    Args:
        steps: Steps in all.
        stream: Where to write; standard error if omitted.
        clock: Seconds that pass.
    """

    # A message in between has to go below the curve, whoever sends it.
    _live: ClassVar["Progress | None"] = None

    def __init__(self, steps: int, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._steps = steps
        self._stream = stream or sys.stderr
        self._is_live = self._stream.isatty()
        self._clock = clock
        self._recent: list[StepReport] = []
        self._losses: list[float] = []
        self._told = float("-inf")
        self._rows_drawn = 0
        if self._is_live and (context := click.get_current_context(silent=True)):
            context.call_on_close(self.leave)

    def __call__(self, report: "StepReport") -> None:
        """Take a step, and show it if it is time."""
        self._recent = [*self._recent[1 - _RECENT :], report]
        self._losses.append(report.loss)
        now = self._clock()
        between = SECONDS_LIVE if self._is_live else SECONDS_BETWEEN_LINES
        if now - self._told < between and report.step < self._steps:
            return
        self._told = now
        if self._is_live:
            self._draw()
        else:
            click.echo(self._line(), file=self._stream)

    def leave(self) -> None:
        """Put the cursor below the curve, which stays as it is."""
        if self._rows_drawn:
            click.echo(file=self._stream)
            self._rows_drawn = 0

    @classmethod
    def make_room(cls) -> None:
        """Let something else be written to the terminal."""
        if cls._live is not None:
            cls._live.leave()

    def _line(self) -> str:
        report = self._recent[-1]
        seconds = sum(entry.seconds for entry in self._recent)
        loss = sum(entry.loss for entry in self._recent) / len(self._recent)
        speed = sum(entry.tokens for entry in self._recent) / seconds if seconds else 0.0
        # Shapes that are compiled for the first time must not set the forecast.
        left = (self._steps - report.step) * median(entry.seconds for entry in self._recent)
        return f"step {report.step}/{self._steps}  loss {loss:.3f}  {speed:,.0f} tokens/s  {_duration(left)} left"

    def _draw(self) -> None:
        Progress._live = self
        columns = shutil.get_terminal_size().columns
        across = min(MOST_COLUMNS, columns - LABEL_COLUMNS - 2)
        lines = [self._line()[: columns - 1]]
        # One step is no curve, and a narrow window has no room for one.
        if across >= 8 and len(self._losses) > 1:
            drawn = braille_curve(self._losses, across, CURVE_ROWS)
            shown = shares(self._losses, 2 * across)
            labels = [f"{max(shown):.2f}", *[""] * (CURVE_ROWS - 2), f"{min(shown):.2f}"]
            lines = [
                *(f"{label:>{LABEL_COLUMNS}} {row}" for label, row in zip(labels, drawn, strict=True)),
                *lines,
            ]
        up = f"\x1b[{self._rows_drawn - 1}A" if self._rows_drawn > 1 else ""
        # One write, so that no half of a picture is ever seen.
        click.echo(f"{up}\r\x1b[J" + "\n".join(lines), file=self._stream, nl=False)
        self._rows_drawn = len(lines)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"
