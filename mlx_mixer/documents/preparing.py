"""Documents prepared in order by this process and another at once, however long each of them takes."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

from mlx_mixer.cores import usable_cores
from mlx_mixer.documents.prepare import prepare_content
from mlx_mixer.documents.preparing_process import Job, PreparingProcess
from mlx_mixer.documents.reader_process import ReaderProcess
from mlx_mixer.documents.records import ContentData
from mlx_mixer.documents.unreadable import UnreadableError

T = TypeVar("T")
# So much is read ahead before another process is worth its start, and once there is one.
_ALONE_BYTES = 64_000
_TOGETHER_BYTES = 2_000_000
# Nothing that was read waits longer than this, in seconds, or behind more files than these.
_PATIENCE = 0.25
_MOST_STEPS = 2000


class Preparer:
    """Prepares documents, with a second process where there is much to do and a core for it; close it.

    Args:
        process: Reads what has parsers that are not to be trusted.
    """

    def __init__(self, process: ReaderProcess) -> None:
        self._readers = process
        self._helper = PreparingProcess()
        self._may_start = usable_cores() > 1
        self._bytes = 0
        self._is_all_read = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._helper.close()

    @property
    def bytes_left(self) -> int | None:
        """Of jobs that wait for their turn, done or not; None while others may follow them."""
        return self._bytes if self._is_all_read else None

    @property
    def child_id(self) -> int | None:
        """Process id of the second process, while there is one."""
        return self._helper.child_id

    def in_order(self, steps: Iterable[tuple[T, Job | None]]) -> Iterator[tuple[T, Job | None]]:
        """Yield the steps as they come, each when its job is done; some that follow are read ahead.

        Args:
            steps: Anything, and the job that goes with it, if any.
        """
        window: deque[tuple[T, Job | None]] = deque()
        self._is_all_read = False
        try:
            for step in steps:
                window.append(step)
                if step[1] is not None:
                    self._begin(step[1])
                while window and (_is_done(window[0][1]) or self._has_read_enough(window)):
                    yield self._finished(window.popleft())
            self._is_all_read = True
            while window:
                yield self._finished(window.popleft())
        finally:
            self._helper.forget()
            self._bytes = 0

    def _begin(self, job: Job) -> None:
        self._bytes += job.size
        if job.reader.read is not None:
            self._helper.offer(job)
        if self._may_start and not self._helper.is_started and self._bytes > _ALONE_BYTES:
            self._helper.start()

    def _has_read_enough(self, window: deque[tuple[T, Job | None]]) -> bool:
        job = window[0][1]
        most = _TOGETHER_BYTES if self._helper.is_started else _ALONE_BYTES if self._may_start else 0
        is_late = job is not None and time.monotonic() - job.offered > _PATIENCE
        return self._bytes > most or len(window) > _MOST_STEPS or is_late

    def _finished(self, step: tuple[T, Job | None]) -> tuple[T, Job | None]:
        job = step[1]
        if job is not None:
            self._bytes -= job.size
            self._finish(job)
        return step

    def _finish(self, job: Job) -> None:
        """Have a job done: by this process if nobody has begun it, and others while somebody is at it."""
        if job.reader.read is None:
            job.finish(self._prepared(job))
        while not job.is_done:
            mine = self._helper.take()
            if mine is None:
                self._helper.wait_for(job)
            else:
                mine.finish(self._prepared(mine))
        if job.result is None:
            job.finish()

    def _prepared(self, job: Job) -> ContentData | str:
        try:
            document, encoding = self._readers.read_file_content(job.data, job.reader)
        except UnreadableError as error:
            return str(error)
        return prepare_content(document, job.digest, job.reader, encoding)


def _is_done(job: Job | None) -> bool:
    return job is None or job.is_done
