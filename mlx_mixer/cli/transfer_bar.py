"""A progress bar for what is fetched or sent: one line that rewrites itself on a terminal, a few lines elsewhere."""

import sys
from collections.abc import Mapping
from typing import Any, Self, TextIO

import click

from mlx_mixer.cli.output import human_bytes
from mlx_mixer.transfer_meter import TransferMeter

LINES_IN_ALL = 10


class TransferBar:
    """Called with {"stage", "file", "done", "total"}, sizes in bytes; a context manager.

    Args:
        stream: Where to write; standard error if omitted.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._is_live = self._stream.isatty()
        self._meter = TransferMeter(human_bytes)
        self._told = ("", -1)
        self._is_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._is_open:
            click.echo(file=self._stream)

    def __call__(self, progress: Mapping[str, Any]) -> None:
        """Show where things are."""
        line = self._meter.line(progress)
        if self._is_live:
            # Clear to the end of the line: the last one may have been longer.
            click.echo(f"\r{line}\x1b[K", file=self._stream, nl=False)
            self._is_open = True
            return
        share = progress["done"] * LINES_IN_ALL // progress["total"] if progress["total"] else 0
        if (progress["stage"], share) != self._told:
            self._told = (progress["stage"], share)
            click.echo(line, file=self._stream)
