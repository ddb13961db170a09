"""A thread beside the others for what MLX computes meanwhile."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

Result = TypeVar("Result")


class Beside:
    """Runs one function after the other in a thread that lasts as long as the process.

    An executor would not do: MLX keeps a stream, and threads of its own, for every thread that has computed, and a
    process in which such a thread has ended is now and then aborted at its exit (MLX 0.32). This one never ends; it is
    a daemon, which Python does not wait for.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, function: Callable[[], Result]) -> "Future[Result]":
        """Run a function when those before it are done; the future has its result or what it raised."""
        future: Future[Result] = Future()
        self._work.put((future, function))
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
        return future

    def _run(self) -> None:
        while True:
            future, function = self._work.get()
            try:
                future.set_result(function())
            except BaseException as error:  # whoever waits for the result raises it
                future.set_exception(error)
            del future, function  # nothing is held while there is nothing to do
