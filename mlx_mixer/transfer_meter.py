"""How far something that is fetched or sent has come, in words: share, bytes, rate and time left."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from mlx_mixer.safe_text import safe_line

RATE_SECONDS = 5.0
SHORTEST_RATE_SECONDS = 0.5
WIDTH = 20
_DOING = {"download": "fetching", "check": "checking", "convert": "converting", "upload": "sending"}


class TransferMeter:
    """Turns reports of {"stage", "file", "done", "total"} into lines; the rate is that of the last seconds.

    Args:
        sizes: How a number of bytes is written.
        width: Of the bar, in characters.
        is_named: Whether lines end with the name of the file.
    """

    def __init__(self, sizes: Callable[[float], str], *, width: int = WIDTH, is_named: bool = True) -> None:
        self._sizes = sizes
        self._width = width
        self._is_named = is_named
        self._samples: deque[tuple[float, int]] = deque()
        self._stage = ""

    def line(self, progress: Mapping[str, Any]) -> str:
        """Return one line about a report."""
        if progress["stage"] != self._stage:
            self._stage = progress["stage"]
            self._samples.clear()
        done, total = progress["done"], progress["total"]
        name = f"  {safe_line(progress['file'])}" if self._is_named else ""
        self._samples.append((time.monotonic(), done))
        while self._samples[-1][0] - self._samples[0][0] > RATE_SECONDS:
            self._samples.popleft()
        doing = _DOING.get(self._stage, self._stage)
        if not total:
            return f"{doing}{name}"
        full = done * self._width // total
        bar = "█" * full + "░" * (self._width - full)
        sizes = f"{self._sizes(done)} of {self._sizes(total)}"
        return f"{doing} {bar} {done * 100 // total:3}%  {sizes}{self._pace(done, total)}{name}"

    def _pace(self, done: int, total: int) -> str:
        seconds = self._samples[-1][0] - self._samples[0][0]
        moved = self._samples[-1][1] - self._samples[0][1]
        if seconds < SHORTEST_RATE_SECONDS or moved <= 0:
            return ""
        left = round((total - done) * seconds / moved)
        return f"  {self._sizes(moved / seconds)}/s  {left // 60}:{left % 60:02} left"
