"""What commands share: data on stdout, narration on stderr, foreign text kept from acting on a terminal."""

import json
import sys
from collections.abc import Mapping
from typing import Any

import click

from mlx_mixer.safe_text import safe_text


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object, the same bytes on a terminal and in a pipe."""
    text = json.dumps(value, ensure_ascii=not _is_utf8(), indent=2)
    # A file name that is not UTF-8 holds lone surrogates, which only an escape can carry.
    click.echo(json.dumps(value, indent=2) if any("\ud800" <= character <= "\udfff" for character in text) else text)


def print_foreign(text: str, *, newline: bool = True) -> None:
    """Print text that we did not write: sanitised on a terminal, untouched in a pipe."""
    click.echo(safe_text(text) if sys.stdout.isatty() else text, nl=newline)


def narrate(message: str) -> None:
    """Tell people what is going on, on stderr."""
    click.echo(safe_text(message), err=True)


def human_bytes(count: float) -> str:
    """A size for people, in powers of 1000 as disks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("the last unit takes every size")


def _is_utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
