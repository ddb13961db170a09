"""What `mlx-mixer convert SOURCE --inspect` prints."""

import textwrap
from importlib import import_module
from pathlib import Path
from typing import Any

from mlx_mixer.cli.output import human_bytes, narrate, print_foreign, print_json
from mlx_mixer.safe_text import safe_line

_WIDTH = 12
_LINE = 100


def show_inspection(source: Path, as_json: bool, hints: dict[str, Any]) -> int:
    """Print what a source is and what its conversion would need; nothing is written.

    Returns:
        What the command ends with.
    """
    # Named and not imported: the library does not know the converter.
    found = import_module("convert").inspect_checkpoint(source, **hints)
    if as_json:
        print_json(found.to_dict())
        return int(found.exit_code)
    _row("is", found.what)
    if found.parameters is not None:
        _row("parameters", f"{found.parameters:,}")
    if found.files:
        _row("stored", f"{', '.join(found.dtypes)}; {human_bytes(found.bytes)} in {len(found.files)} file(s)")
        for file in found.files:
            _row("", str(file))
    settings = ", ".join(f"{key} {value}" for key, value in (found.config or {}).items())
    for place, line in enumerate(textwrap.wrap(settings, _LINE - _WIDTH, break_long_words=False)):
        _row("" if place else "config", line)
    if found.tokenizer is not None:
        _row("tokenizer", str(found.tokenizer))
    for line in found.missing:
        _row("missing", line)
    for question in found.questions:
        _row("hint", _question(question.to_dict()))
    _row("next", found.advice)
    for warning in found.warnings:
        narrate(f"note: {safe_line(warning)}")
    return int(found.exit_code)


def _question(question: dict[str, Any]) -> str:
    """One line: the option, what it may be, what is taken without it, and what for."""
    state = "needed" if question["required"] else "optional"
    if question["told"] is not None:
        state = f"told: {question['told']}"
    elif question["assumed"] is not None:
        state = f"taken to be {question['assumed']}"
    values = question["allowed"]
    value = f" {' | '.join(values)}" if len(values) > 1 else f": {values[0]}"
    return f"{question['option']}{value} ({state}; {question['why']})"


def _row(name: str, text: str) -> None:
    print_foreign(f"{name:{_WIDTH}}{safe_line(text)}")
