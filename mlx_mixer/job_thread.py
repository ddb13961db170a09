"""One daemon thread that runs jobs, most urgent first."""

import itertools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(order=True)
class _Job:
    urgency: int
    number: int
    run: Callable[[], None] = field(compare=False)


class JobThread:
    """A thread that owns something which must not be shared: the MLX stream, or a database connection.

    Jobs run one at a time, the lowest `urgency` first and in order of arrival within one urgency. The thread is a
    daemon and never joined for longer than `stop` is told, so that quitting does not wait for a job that cannot be
    interrupted.
    """

    def __init__(self, name: str) -> None:
        self._queue: queue.PriorityQueue[_Job] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def submit(self, work: Callable[[], Result], *, urgency: int = 0) -> "Future[Result]":
        """Queue `work`; the future gets its result or its exception, and is cancelled if the thread stops first."""
        future: Future[Result] = Future()

        def run() -> None:
            if self.is_stopping or not future.set_running_or_notify_cancel():
                future.cancel()
                return
            try:
                future.set_result(work())
            except Exception as error:  # handed to whoever asked, who knows what to do about it
                future.set_exception(error)

        self._queue.put(_Job(urgency, next(self._numbers), run))
        return future

    def run_waiting(self, *, max_urgency: int) -> None:
        """Run queued jobs that are at least this urgent. Only for a long job on this very thread, between its steps."""
        while True:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return
            if job.urgency > max_urgency:
                self._queue.put(job)
                return
            job.run()

    def stop(self, timeout_seconds: float) -> bool:
        """Ask the thread to end after the job at hand; return whether it did so in time."""
        self._stopping.set()
        self._queue.put(_Job(-(10**6), next(self._numbers), lambda: None))
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while not self.is_stopping:
            self._queue.get().run()
        # Whoever waits for a queued job must not wait for ever.
        while not self._queue.empty():
            self._queue.get().run()
