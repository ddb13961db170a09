"""The library's checks of foreign files, raising what conversions raise."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlx_mixer import foreign, strict_json
from mlx_mixer.errors import CheckpointError, ConversionError


@contextmanager
def as_conversion_error() -> Iterator[None]:
    """Turn a damaged file's `CheckpointError` into a `ConversionError`."""
    try:
        yield
    except CheckpointError as error:
        raise ConversionError(str(error)) from error


def open_regular(path: Path) -> io.BufferedReader:
    """See `mlx_mixer.foreign.open_regular`."""
    with as_conversion_error():
        return foreign.open_regular(path)


def check_name(name: str, file: Path) -> None:
    """See `mlx_mixer.foreign.check_name`."""
    with as_conversion_error():
        foreign.check_name(name, file)


def parse_json(raw: bytes, what: str) -> Any:  # any JSON value; each caller checks its own shape
    """See `mlx_mixer.strict_json.parse_json`."""
    with as_conversion_error():
        return strict_json.parse_json(raw, what)
