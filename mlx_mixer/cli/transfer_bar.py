"""A progress bar for what is fetched or sent: one line that rewrites itself on a terminal, a few lines elsewhere."""

import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, TextIO

import click

from mlx_mixer.cli.output import human_bytes
from mlx_mixer.safe_text import safe_line

RATE_SECONDS = 5.0
LINES_IN_ALL = 10
WIDTH = 20
_DOING = {"download": "fetching", "check": "checking", "convert": "converting", "upload": "sending"}


class TransferBar:
    """Called with {"stage", "file", "done", "total"}, sizes in bytes; a context manager.

    Args:
        stream: Where to write; standard error if omitted.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._is_live = self._stream.isatty()
        self._samples: deque[tuple[float, int]] = deque()
        self._told = -1
        self._stage = ""
        self._is_open = False

    def __enter__(self) -> "TransferBar":  # noqa: PYI034  # final in practice
        return self

    def __exit__(self, *exception: object) -> None:
        if self._is_open:
            click.echo(file=self._stream)

    def __call__(self, progress: Mapping[str, Any]) -> None:
        """Show where things are."""
        if progress["stage"] != self._stage:
            self._stage, self._told = progress["stage"], -1
            self._samples.clear()
        done, total = progress["done"], progress["total"]
        self._samples.append((time.monotonic(), done))
        while self._samples[-1][0] - self._samples[0][0] > RATE_SECONDS:
            self._samples.popleft()
        line = self._line(progress["file"], done, total)
        if self._is_live:
            # Clear to the end of the line: the last one may have been longer.
            click.echo(f"\r{line}\x1b[K", file=self._stream, nl=False)
            self._is_open = True
        elif (share := done * LINES_IN_ALL // total if total else 0) > self._told:
            self._told = share
            click.echo(line, file=self._stream)

    def _line(self, file: str, done: int, total: int) -> str:
        doing = _DOING.get(self._stage, self._stage)
        name = safe_line(file)
        if not total:
            return f"{doing} {name}"
        full = done * WIDTH // total
        bar = "█" * full + "░" * (WIDTH - full)
        return f"{doing} {bar} {done * 100 // total:3}%  {_sizes(done, total)}{self._pace(done, total)}  {name}"

    def _pace(self, done: int, total: int) -> str:
        seconds = self._samples[-1][0] - self._samples[0][0]
        moved = self._samples[-1][1] - self._samples[0][1]
        if seconds < 0.5 or moved <= 0:
            return ""
        left = round((total - done) * seconds / moved)
        return f"  {human_bytes(moved / seconds)}/s  {left // 60}:{left % 60:02} left"


def _sizes(done: int, total: int) -> str:
    return f"{human_bytes(done)} of {human_bytes(total)}"
