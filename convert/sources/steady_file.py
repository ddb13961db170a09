"""A file that must not change between the check of its header and the last read."""

import io
import os
from pathlib import Path
from typing import NamedTuple

from mlx_mixer.errors import ConversionError


class Stamp(NamedTuple):
    """What changes when a file does: its size in bytes and when it was last written to, in nanoseconds."""

    size: int
    modified: int


def stamp_of(file: io.BufferedReader) -> Stamp:
    """The stamp of an open file; a file that replaced it under its name has no part in it."""
    status = os.fstat(file.fileno())
    return Stamp(status.st_size, status.st_mtime_ns)


def read_exactly(file: io.BufferedReader, begin: int, count: int, path: Path) -> bytes:
    """Read bytes of a checked file.

    Raises:
        ConversionError: If it has become shorter than was checked.
    """
    file.seek(begin)
    raw = file.read(count)
    if len(raw) != count:
        raise ConversionError(f"{path.name} became shorter while it was read; wait until it is complete")
    return raw


def check_steady(file: io.BufferedReader, stamp: Stamp, path: Path) -> None:
    """Refuse what was written to since.

    Raises:
        ConversionError: If the file is no longer as it was.
    """
    if stamp_of(file) != stamp:
        raise ConversionError(f"{path.name} changed while it was read; wait until nothing writes to it")
