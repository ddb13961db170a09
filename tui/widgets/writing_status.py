"""The line below the text: what the model is doing, how fast, and how much of its window is used."""

from typing import Literal

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content

from tui.progress import FinishReason, WritingProgress
from tui.session import Session
from tui.widgets.meter import meter
from tui.widgets.plain import Plain, plain

Activity = Literal["idle", "waiting", "writing"] | FinishReason

_SIGNS: dict[str, tuple[str, str]] = {
    "waiting": ("◌", "waiting for the model"),
    "writing": ("●", "writing"),
    "stop": ("✓", "end of text"),
    "length": ("✓", "done"),
    "cancelled": ("■", "stopped"),
    "failed": ("✗", "failed"),
}


class WritingStatus(Horizontal):
    """Left the activity, right the window."""

    def compose(self) -> ComposeResult:
        yield Plain(id="activity")
        yield Plain(id="window")

    def show(self, session: Session, activity: Activity, progress: WritingProgress) -> None:
        """Redraw for a state."""
        self.query_one("#activity", Plain).show(activity_line(session, activity, progress))
        self.query_one("#window", Plain).show(window_line(session, progress))


def activity_line(session: Session, activity: Activity, progress: WritingProgress) -> Content:
    """Return what the model is doing: a sign, a word, and the numbers that belong to it."""
    if session.model_state == "failed" and activity in ("idle", "failed"):
        return plain("✗ no model", "$text-error")
    if activity == "idle":
        return plain("◌ loading the model", "$text-muted") if session.model_state == "loading" else plain("○ ready")
    sign, word = _SIGNS[activity]
    line = plain(f"{sign} {word}", "$accent" if activity == "writing" else "")
    if progress.tokens:
        line += plain(f"  {progress.tokens} tokens", "$text-muted")
    if progress.tokens_per_second:
        line += plain(f"  {progress.tokens_per_second:.0f} tok/s", "$text-muted")
    return line


def window_line(session: Session, progress: WritingProgress) -> Content:
    """Return how much of what the model can see is in use, as a bar and as numbers."""
    total = progress.context_length or session.context_length
    if not total:
        return Content("")
    used = progress.window_used
    bar = meter(used, total, cells=12, style="$warning" if forgets(progress) else "$primary")
    label = plain("▲ window ", "$warning") if forgets(progress) else plain("window ", "$text-muted")
    return label + bar + plain(f" {used} / {total}", "$text-muted")


def forgets(progress: WritingProgress) -> bool:
    """Whether the model no longer sees all of the text before the cursor."""
    return progress.slides > 0 or progress.prompt_tokens > progress.context_length > 0
