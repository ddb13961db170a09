"""The Training screen: a run that goes on in another terminal, or has ended, as its log tells it."""

import asyncio
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer

from mlx_mixer.errors import MixerError
from mlx_mixer.training.follow import RunFollower, RunView
from tui.widgets.loss_curve import LossCurve
from tui.widgets.meter import meter, share
from tui.widgets.plain import Plain, notice, plain, plain_line, short_path

LOOK_SECONDS = 1.0
METER_CELLS = 24

_STATUS = {
    "waiting": "○ waiting for the first step",
    "training": "● training",
    "quiet": "○ no step for some time",
    "ended": "✓ ended",
}


class TrainingScreen(Screen[None]):
    """Follows the run in a folder."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.pop_screen", "Back", id="training.leave", tooltip="Go back; the run goes on."),
    ]

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._follower = RunFollower(folder)
        self._is_looking = False
        self._problem = ""

    def compose(self) -> ComposeResult:
        with Horizontal(id="run-bar"):
            yield Plain(plain_line(f"Training  {short_path(self._folder)}", "bold"), id="run-name")
            yield Plain(id="run-status")
        yield Plain(id="run-figures")
        yield LossCurve()
        yield Plain(id="run-progress")
        yield Footer(show_command_palette=False)

    async def on_mount(self) -> None:
        self.set_interval(LOOK_SECONDS, self._look)
        await self._look()

    async def _look(self) -> None:
        # A slow disk must not pile up readers.
        if self._is_looking:
            return
        self._is_looking = True
        try:
            # Away from the screen's thread: the first look reads the whole log.
            self._show(await asyncio.to_thread(self._follower.look))
            self._problem = ""
        except MixerError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                notice(self.app, self._problem, problem=True)
        finally:
            self._is_looking = False

    def _show(self, view: RunView) -> None:
        self.query_one("#run-status", Plain).show(plain_line(_STATUS[view.status], _style_of(view)))
        self.query_one("#run-figures", Plain).show(figures_text(view))
        self.query_one(LossCurve).show_losses(view.losses)
        self.query_one("#run-progress", Plain).show(progress_text(view))


def figures_text(view: RunView) -> Content:
    """Loss, best validation and speed, each with its name before it."""
    if view.loss is None:
        return plain("Nothing is logged yet.", "$text-muted")
    now = _named("loss", f"{view.loss:.3f} nats")
    now += plain("   ") + _named("speed", f"{view.tokens_per_second:,.0f} tokens/s")
    if view.best is None:
        return now
    # On a line of its own, because what is measured takes words.
    return now + plain("\n") + _named("best", f"{view.measure.text(view.best[1])} (step {view.best[0]:,})")


def _named(name: str, value: str) -> Content:
    return plain(f"{name:6}", "$text-muted") + plain(value, "bold")


def progress_text(view: RunView) -> Content:
    """How much is done, and how long the rest will take."""
    if not view.steps:
        return plain(f"step {view.step:,}" if view.step else "", "$text-muted")
    done = meter(view.step, view.steps, cells=METER_CELLS)
    left = ""
    if view.status == "training" and view.seconds_left is not None:
        left = f"   {duration_text(view.seconds_left)} left"
    text = f"  {share(view.step, view.steps)}   step {view.step:,} of {view.steps:,}{left}"
    return done + plain(text, "$text-muted")


def duration_text(seconds: float) -> str:
    """A length of time for people: "45 s", "12 min", "3 h 05 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def _style_of(view: RunView) -> str:
    return {"training": "$text-primary", "ended": "$text-success"}.get(view.status, "$text-muted")
