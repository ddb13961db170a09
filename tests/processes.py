"""Child processes as a terminal would start them."""

import signal
import subprocess
from collections.abc import Sequence
from typing import Any


def start(command: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
    """Start a program that Ctrl+C can interrupt, also where this test runs in the background of a shell.

    Such a shell has its jobs ignore the interrupt, and children inherit that.
    """
    return subprocess.Popen(command, preexec_fn=_heed_interrupts, **options)


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
