"""JSON of foreign files, read without the leniency of Python's parser."""

import itertools
import json
import math
from typing import Any, NoReturn

from mlx_mixer.errors import CheckpointError


def parse_json(raw: bytes, what: str) -> Any:  # any JSON value; each caller checks its own shape
    """Parse UTF-8 JSON; duplicate keys, NaN, lone surrogates, -0 and numbers beyond a float64 are errors.

    Args:
        raw: The encoded text.
        what: What it is, to begin an error message with.

    Raises:
        CheckpointError: If it is anything else.
    """
    try:
        return json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_int=_whole_number,
            parse_float=_real_number,
        )
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{what} is not valid JSON: {error}") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("the same key stands in it twice")
    for text in itertools.chain.from_iterable(pairs):
        if isinstance(text, str):
            text.encode("utf-8")  # raises for a lone surrogate, which has no UTF-8 form
    return table


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _whole_number(digits: str) -> int:
    if digits == "-0":
        raise ValueError("-0 is not a whole number")
    return int(digits)


def _real_number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:20]} is too large a number")
    return value
