"""A run as another process sees it: its log, read while it grows. Needs no MLX."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

from mlx_mixer.errors import MixerError
from mlx_mixer.training.measure import Measure, measure_of

LOG_NAME, SETTINGS_NAME, REPORT_NAME = "training_log.jsonl", "training/settings.json", "training_report.json"
_RECENT = 50
# A run that has written nothing for so many steps' time, and for so many seconds, is not at work.
_QUIET_STEPS, _QUIET_SECONDS = 20, 60.0

RunStatus = Literal["waiting", "training", "quiet", "ended"]


@dataclass
class RunView:
    """A run so far.

    Attributes:
        kind: The objective, "" where nothing says it.
        steps: Steps in all, 0 where nothing says it.
        step: Steps done.
        losses: Loss of every step.
        best: Step and score of the best validation.
        tokens_per_second: Of the last steps.
        seconds_left: Until the last step, `None` if unknown.
        status: "waiting" for a first step, "training", "quiet" for long, or "ended".
    """

    kind: str = ""
    steps: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    best: tuple[int, float] | None = None
    tokens_per_second: float = 0.0
    seconds_left: float | None = None
    status: RunStatus = "waiting"

    @property
    def loss(self) -> float | None:
        """Mean loss of the last steps."""
        recent = self.losses[-_RECENT:]
        return sum(recent) / len(recent) if recent else None

    @property
    def measure(self) -> Measure:
        """What the validations measure."""
        return measure_of(self.kind)


def check_run(path: Path) -> None:
    """Accept the folder of a run.

    Raises:
        MixerError: If there is no run in it.
    """
    if not ((path / LOG_NAME).is_file() or (path / SETTINGS_NAME).is_file()):
        raise MixerError(f"{path} is no folder that a run trains into; give what --out names")


class RunFollower:
    """Reads a run's log from where it last stopped.

    Args:
        folder: The folder a model is trained into.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._view = RunView()
        self._recent: list[dict[str, Any]] = []
        self._read = 0
        self._file = -1

    def look(self, now: float | None = None) -> RunView:
        """The run as it is now.

        Args:
            now: Seconds since 1970; the system's clock if omitted.

        Raises:
            MixerError: If the folder cannot be read.
        """
        try:
            self._look(time.time() if now is None else now)
        except FileNotFoundError:
            pass  # not begun, or removed in this moment
        except OSError as error:
            raise MixerError(f"{self._folder} cannot be read: {error.strerror}") from error
        return self._view

    def _look(self, now: float) -> None:
        view = self._view
        settings = _settings(self._folder)
        view.kind, view.steps = str(settings.get("kind", view.kind)), int(settings.get("steps", view.steps))
        status = (self._folder / LOG_NAME).stat()
        if status.st_ino != self._file or status.st_size < self._read:
            # A run that goes on after a kill writes the log anew, without the steps it will do again.
            self._file, self._read, self._recent = status.st_ino, 0, []
            self._view = view = RunView(kind=view.kind, steps=view.steps)
        with (self._folder / LOG_NAME).open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            self._take(line)
        self._judge(now - status.st_mtime)

    def _take(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            step = int(entry["step"])
            if "loss" in entry:
                self._view.step = step
                self._view.losses.append(float(entry["loss"]))
                self._recent = [*self._recent[1 - _RECENT :], entry]
            elif "score" in entry:
                score = float(max(entry["score"], entry.get("average_score", entry["score"])))
                if self._view.best is None or score > self._view.best[1]:
                    self._view.best = (step, score)
        except (ValueError, KeyError, TypeError):
            pass  # not a line of ours

    def _judge(self, silence: float) -> None:
        view = self._view
        if not self._recent:
            return
        times = [float(entry.get("seconds", 0.0)) for entry in self._recent]
        view.tokens_per_second = sum(entry.get("tokens", 0) for entry in self._recent) / (sum(times) or 1.0)
        view.seconds_left = max(0, view.steps - view.step) * median(times) if view.steps else None
        if (self._folder / REPORT_NAME).is_file():
            view.status = "ended"
        else:
            is_quiet = silence > max(_QUIET_SECONDS, _QUIET_STEPS * max(times))
            view.status = "quiet" if is_quiet else "training"


def _settings(folder: Path) -> dict[str, Any]:
    """What is known of a run beside its log, while it goes on and afterwards."""
    for name in (SETTINGS_NAME, REPORT_NAME):
        try:
            found = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(found, dict):
            return found
    return {}
