"""Results that stay: a study that was killed computes only what it had not finished."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_mixer.atomic import write_atomically
from mlx_mixer.errors import UsageError

RESULTS_NAME = "results.json"
_SECONDS_BETWEEN_LINES = 5.0
# The plan is believed like a measurement of so many seconds, until there is more to go by.
_SECONDS_OF_TRUST = 20.0

Cell = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """One thing to compute.

    Attributes:
        name: Under which its result is kept.
        seconds: How long it may take on a quiet machine.
    """

    name: str
    seconds: float


class Cells:
    """The results of a study so far, and how far it is.

    Args:
        out: Folder of the study; made if missing.
        settings: Everything that decides the results, as JSON values.
        plan: Everything there is to compute, for the time left.
        narrate: Told what is going on.

    Raises:
        UsageError: If the folder holds results of other settings, or something else.
    """

    def __init__(
        self, out: Path, settings: Mapping[str, Any], plan: list[Work], narrate: Callable[[str], None]
    ) -> None:
        self.out = out
        self._file = out / RESULTS_NAME
        self._settings = json.loads(json.dumps(settings))
        self._cells: dict[str, Cell] = {}
        self._planned = {work.name: work.seconds for work in plan}
        self._narrate = narrate
        self._read()
        self._is_left = {work.name for work in plan if work.name not in self._cells}
        self._planned_done = 0.0
        self._started = time.monotonic()
        self._told = 0.0
        if len(self._is_left) < len(plan):
            narrate(f"going on: {len(plan) - len(self._is_left)} of {len(plan)} results are in {self._file}")

    def get(self, name: str, compute: Callable[[], Cell]) -> Cell:
        """A result, computed unless it is there already."""
        if name not in self._cells:
            self.tell(name, 0.0, "...", always=True)
            found = compute()
            # As it will be read: a study that goes on must see the same values.
            self._cells[name] = json.loads(json.dumps(found))
            self._write()
            self._planned_done += self._planned.get(name, 0.0)
            self._is_left.discard(name)
        return self._cells[name]

    def tell(self, name: str, share: float, message: str, *, always: bool = False) -> None:
        """Narrate a line about a result in the making, not too often.

        Args:
            name: The result.
            share: How much of it is done, 0 to 1.
            message: What there is to say.
            always: Even if the last line was just told.
        """
        now = time.monotonic()
        if not always and now - self._told < _SECONDS_BETWEEN_LINES:
            return
        self._told = now
        number = len(self._planned) - len(self._is_left) + 1
        self._narrate(f"[{number}/{len(self._planned)}] {name}: {message}{self._left(name, share, now)}")

    def _left(self, name: str, share: float, now: float) -> str:
        half_done = share * self._planned.get(name, 0.0)
        left = sum(self._planned[other] for other in self._is_left) - half_done
        slowness = (now - self._started + _SECONDS_OF_TRUST) / (self._planned_done + half_done + _SECONDS_OF_TRUST)
        return f"  {clock(left * slowness)} left"

    def _read(self) -> None:
        if not self._file.exists():
            if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
                raise UsageError(f"{self.out} already exists and holds no study; choose another folder")
            self.out.mkdir(parents=True, exist_ok=True)
            self._write()
            return
        try:
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            found, self._cells = dict(kept["settings"]), dict(kept["cells"])
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{self._file} is not what a study wrote; choose another folder") from error
        for key in sorted({*found, *self._settings}):
            if found.get(key) != self._settings.get(key):
                raise UsageError(
                    f"{self.out} was started with {key} = {found.get(key)!r}, now it is {self._settings.get(key)!r}; "
                    "use the same settings to go on, or another folder"
                )

    def _write(self) -> None:
        content = json.dumps({"settings": self._settings, "cells": self._cells}, indent=1)
        write_atomically(self._file, content.encode())


def clock(seconds: float) -> str:
    """A length of time for people."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
