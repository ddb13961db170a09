"""The tokenizer of a checkpoint: found beside the weights or where the user says, and taken in by a child process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mlx_mixer.errors import ConversionError, ModelNotFoundError

FILE_NAMES = ("tokenizer.json", "tokenizer.model")
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class SpecialIds:
    """Ids of a tokenizer's special tokens; None for those it lacks."""

    bos: int | None
    eos: int | None
    unk: int | None
    pad: int | None


def find_tokenizer(named: Path | None, folders: Iterable[Path]) -> Path | None:
    """Find a tokenizer file.

    Args:
        named: File or folder that the user named; nothing else is then looked at.
        folders: Where to look otherwise, in this order.

    Returns:
        Path of a `tokenizer.json` or a SentencePiece model; None if the user named none and there is none.

    Raises:
        ModelNotFoundError: If the user named something that is not there.
    """
    if named is not None and named.is_file():
        return named
    for folder in [named] if named is not None else folders:
        for name in FILE_NAMES:
            if (folder / name).is_file():
                return folder / name
    if named is not None:
        raise ModelNotFoundError(f"there is no tokenizer at {named}; expected {' or '.join(FILE_NAMES)}")
    return None


def install_tokenizer(source: Path, out: Path, vocab_size: int) -> SpecialIds:
    """Check a foreign tokenizer and write it into a model folder as mlx-lm loads it.

    `tokenizer.json` is kept without padding and truncation; a SentencePiece model is translated and kept beside the
    translation.

    Args:
        source: The file.
        out: An existing folder.
        vocab_size: Number of embeddings the model has.

    Raises:
        ConversionError: If the tokenizer cannot be used.
    """
    # "-P" and a path of our own: a file named tokenizers.py in the current folder must not be run.
    command = [
        sys.executable,
        "-P",
        "-m",
        "convert.words.tokenizer_child",
        str(source.absolute()),
        str(out),
        str(vocab_size),
    ]
    root = str(Path(__file__).resolve().parents[2])
    try:
        child = subprocess.run(
            command,
            capture_output=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
            env={**os.environ, "PYTHONPATH": root, "TOKENIZERS_PARALLELISM": "false"},
        )
    except subprocess.TimeoutExpired as error:
        raise ConversionError(f"{source.name} keeps its parser busy for over {TIMEOUT_SECONDS} seconds") from error
    try:
        result = json.loads(child.stdout)
    except ValueError as error:
        raise ConversionError(
            f"{source.name} is damaged: it makes the tokenizer library crash (status {child.returncode})"
        ) from error
    if "error" in result:
        raise ConversionError(result["error"])
    return SpecialIds(**result["ids"])
