"""Ctrl+C between two steps and not in the middle of one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Whether somebody asked to stop."""

    def __init__(self) -> None:
        self.is_requested = False

    def request(self, _number: int, _frame: FrameType | None) -> None:
        """Note the first request; the second one does not wait."""
        if self.is_requested:
            raise KeyboardInterrupt
        self.is_requested = True


@contextmanager
def deferred_interrupts() -> Iterator[Interrupt]:
    """Note Ctrl+C instead of raising at once, so that weights, optimiser and log are of one step when it is heeded.

    An interrupt that arrives while arrays are computed is raised when they are there: after the weights have moved and
    before anything knows that they have.

    Outside the main thread, where signals cannot be handled, nothing is noted.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = signal.signal(signal.SIGINT, interrupt.request)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
