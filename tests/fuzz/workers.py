"""Talking to the one child process that takes in tokenizers."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]


@dataclass
class TokenizerWorker:
    """A child process; a context manager.

    Attributes:
        crashes: How often the library took its process with it.
        panics: How often it panicked.
        hangs: How often it was stopped because it took too long.
    """

    crashes: int = 0
    panics: int = 0
    hangs: int = 0

    def __post_init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.tokenizer_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "RUST_BACKTRACE": "0"},
        )

    def ask(self, source: Path, out: Path) -> dict[str, Any]:
        """What became of a tokenizer: "ids", "error", "panic", "crash" or "hang"."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps([str(source), str(out)]) + "\n")
        self._child.stdin.flush()
        found: dict[str, Any] = json.loads(self._child.stdout.readline())
        self.panics += "panic" in found
        self.crashes += "crash" in found
        self.hangs += "hang" in found
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._child.communicate()
