"""A process that prepares documents while this one stores others.

What waits for it lies here, in order, and goes over a little at a time: whatever it has not begun, this process may do
itself. A file over which it dies or hangs gets that for a reason; what was to come after goes to a new one.
"""

import threading
import time
from collections import deque
from signal import Signals

from mlx_mixer.documents import wire
from mlx_mixer.documents.child_pipes import EXIT_MEMORY
from mlx_mixer.documents.child_process import ChildProcess
from mlx_mixer.documents.prepared import unpack_prepared
from mlx_mixer.documents.preparing_child import REPLY_HEADER, seconds_for
from mlx_mixer.documents.readers import Reader
from mlx_mixer.documents.records import ContentData

# Of files that lie in the pipe: what it prepares while this process is busy with something else.
_AHEAD_BYTES = 192_000
_MEMORY_BYTES = 1 << 30
# Taking a reply interrupts the thread that stores, so some are taken at once. Meanwhile the process is busy with what
# lies in the pipe, for several times as long.
_REST_SECONDS = 0.003


class Job:
    """The bytes of a file, and what becomes of them.

    Args:
        data: The bytes.
        digest: Their hash.
        reader: Who reads them.

    Attributes:
        result: The document, or the reason why there is none; None until it is done.
    """

    def __init__(self, data: bytes, digest: bytes, reader: Reader) -> None:
        self.data = data
        self.digest = digest
        self.reader = reader
        self.size = len(data)
        self.offered = time.monotonic()
        self.reply: bytes | None = None
        self.result: ContentData | str | None = None

    @property
    def is_done(self) -> bool:
        """Whether `finish` need not wait."""
        return self.result is not None or self.reply is not None

    def finish(self, result: ContentData | str | None = None) -> None:
        """Keep the result, by default what the other process made, and let go of the bytes."""
        if result is None and self.reply is not None:
            result = unpack_prepared(self.reply, self.digest, self.reader)
        self.result, self.reply, self.data = result, None, b""


class PreparingProcess:
    """The process, and the thread that feeds it; both start with the first call of `start`. Close it.

    One thread offers jobs, and takes back what is not begun.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._begun: deque[Job] = deque()
        self._child: ChildProcess | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @property
    def is_started(self) -> bool:
        return self._thread is not None

    @property
    def child_id(self) -> int | None:
        """The process id, while there is one."""
        return self._child.process.pid if self._child else None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="feeds the preparing process", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the process; what was not done will not be."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            if self._child is not None:
                self._child.process.kill()
        if self._thread is not None:
            self._thread.join()

    def offer(self, job: Job) -> None:
        """Put a job behind the others that wait."""
        with self._changed:
            self._waiting.append(job)
            self._changed.notify_all()

    def take(self) -> Job | None:
        """Take back the first job that nobody has begun."""
        with self._changed:
            return self._waiting.popleft() if self._waiting else None

    def forget(self) -> None:
        """Take back all of them."""
        with self._changed:
            self._waiting.clear()

    def wait_for(self, job: Job) -> None:
        """Wait until a job that was begun is done, or waits again."""
        with self._changed:
            self._changed.wait_for(lambda: job.is_done or job in self._waiting)

    def _run(self) -> None:
        while child := self._next_child():
            reason = ""
            try:
                self._serve(child)
            except TimeoutError:
                reason = "took too long to prepare"
            except (EOFError, OSError):
                reason = _cause_of_death(child)
            finally:
                self._give_up(child, reason)

    def _next_child(self) -> ChildProcess | None:
        """Start a process; None where that is not possible, or no longer wanted."""
        if self._is_closed:
            return None
        try:
            child = ChildProcess("mlx_mixer.documents.preparing_child", _MEMORY_BYTES)
        except OSError:
            return None
        with self._changed:
            self._child = child
            is_wanted = not self._is_closed
        if is_wanted and child.is_ready():
            return child
        self._give_up(child, "")
        return None

    def _serve(self, child: ChildProcess) -> None:
        received = bytearray()
        while self._feed(child):
            if self._waiting:  # so nobody waits for what was begun
                time.sleep(_REST_SECONDS)
            received += child.receive_some(time.monotonic() + seconds_for(self._begun[0].size))
            self._take_replies(received)

    def _feed(self, child: ChildProcess) -> bool:
        """Send jobs until it has enough, the first of them when there is one; False when closed."""
        requests = []
        with self._changed:
            self._changed.wait_for(lambda: self._begun or self._waiting or self._is_closed)
            if self._is_closed:
                return False
            ahead = sum(job.size for job in self._begun)
            while self._waiting and (ahead < _AHEAD_BYTES or not self._begun):
                job = self._waiting.popleft()
                self._begun.append(job)
                ahead += job.size
                requests.append(wire.pack_request(job.reader.name, job.data))
        if requests:
            child.send(b"".join(requests), time.monotonic() + seconds_for(ahead))
        return True

    def _take_replies(self, received: bytearray) -> None:
        """Take every whole reply out of what was received."""
        replies, start = [], 0
        while len(received) >= start + REPLY_HEADER.size:
            begin = start + REPLY_HEADER.size
            end = begin + REPLY_HEADER.unpack_from(received, start)[0]
            if len(received) < end:
                break
            replies.append(bytes(received[begin:end]))
            start = end
        del received[:start]
        with self._changed:
            for reply in replies:
                self._begun.popleft().reply = reply
            self._changed.notify_all()

    def _give_up(self, child: ChildProcess, reason: str) -> None:
        """End a process. The job it was at is done, with this reason; the others wait again."""
        child.end()
        with self._changed:
            self._child = None
            if self._begun and reason:
                self._begun.popleft().finish(reason)
            self._waiting.extendleft(reversed(self._begun))
            self._begun.clear()
            self._changed.notify_all()


def _cause_of_death(child: ChildProcess) -> str:
    status = child.exit_status()
    if status == EXIT_MEMORY:
        return f"needs more than {_MEMORY_BYTES / (1 << 30):.2g} GB of memory to prepare"
    if status is not None and status < 0:
        return f"crashed what prepares it ({Signals(-status).name})"
    return "stopped what prepares it"
