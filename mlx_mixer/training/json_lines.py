"""Records from files of JSON lines and from standard input."""

import gzip
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mlx_mixer.errors import MixerError

RECORD_SUFFIXES = (".jsonl", ".jsonl.gz")
# The fields that hold a text, best first.
TEXT_FIELDS = ("passage", "text")
STDIN = Path("-")


def records_of(file: Path) -> Iterator[dict[str, Any]]:
    """The records of a `.jsonl` or `.jsonl.gz` file, or of standard input if the path is `-`.

    Raises:
        MixerError: If the file cannot be read or a line is no JSON object.
    """
    if file == STDIN:
        yield from parse_records(read_stdin().splitlines(), "standard input")
        return
    open_text = gzip.open if file.suffix == ".gz" else open
    try:
        with open_text(file, "rt", encoding="utf-8") as lines:
            yield from parse_records(lines, str(file))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise MixerError(f"{file} cannot be read as JSON lines: {error}") from error


def parse_records(lines: Iterable[str], name: str) -> Iterator[dict[str, Any]]:
    """The objects on lines that are not empty.

    Args:
        lines: The lines.
        name: What to call them in an error.

    Raises:
        MixerError: If a line is no JSON object.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _record(line, name, number)


def text_of(record: dict[str, Any]) -> str:
    """The text of a record; empty if it has none."""
    return next((record[name] for name in TEXT_FIELDS if isinstance(record.get(name), str)), "")


def read_stdin() -> str:
    """All of standard input as text; what is no UTF-8 is replaced."""
    return sys.stdin.buffer.read().decode("utf-8", "replace")


def _record(line: str, name: str, number: int) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MixerError(f"{name}, line {number}: not JSON ({error})") from error
    if not isinstance(record, dict):
        raise MixerError(f"{name}, line {number}: a {type(record).__name__}, where an object is expected")
    return record
