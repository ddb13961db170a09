"""Read files of every kind: text here, and everything with a parser that might fail us in a child process.

A file that crashes the child, hangs it or makes it fill the memory costs that file alone: the child is killed, the
file gets a reason, and the next file a new child.
"""

import threading
import time
from dataclasses import dataclass
from signal import Signals
from types import TracebackType
from typing import Self

from mlx_mixer.documents import wire
from mlx_mixer.documents.child_pipes import EXIT_MEMORY
from mlx_mixer.documents.child_process import ChildProcess
from mlx_mixer.documents.readers import Reader, read_document
from mlx_mixer.documents.rules import content_reason
from mlx_mixer.documents.structure import ReadDocument
from mlx_mixer.documents.unreadable import UnreadableError


@dataclass(frozen=True)
class ProcessLimits:
    """What one file may cost.

    Attributes:
        seconds: On the clock, from the request to the whole reply.
        memory_bytes: Of the child.
    """

    seconds: float = 20.0
    memory_bytes: int = 1 << 30


class ReaderProcess:
    """The child process; it is started when the first file needs it, and used for many.

    Safe to use from several threads, one file at a time. Close it, or use it in a `with` statement; it also ends with
    the process that started it.
    """

    def __init__(self, limits: ProcessLimits | None = None) -> None:
        self.limits = limits or ProcessLimits()
        self._lock = threading.Lock()
        self._child: ChildProcess | None = None

    def read_file_content(self, data: bytes, reader: Reader) -> tuple[ReadDocument, str]:
        """Read one file of any kind.

        Returns:
            The document, and the name of its encoding (empty where the format settles that).

        Raises:
            UnreadableError: With the reason why there is nothing to index.
        """
        if reader.read is not None:
            return read_document(data, reader)
        if reason := content_reason(data):
            raise UnreadableError(reason)
        if len(data) > reader.max_bytes:
            raise UnreadableError(f"larger than {reader.max_bytes // 1_000_000} MB")
        with self._lock:
            reply = self._exchange(wire.pack_request(reader.name, data))
        if isinstance(reply, str):
            raise UnreadableError(reply)
        return reply

    @property
    def child_id(self) -> int | None:
        """The child's process id, while there is one."""
        return self._child.process.pid if self._child else None

    def start(self) -> None:
        """Start the child before it is needed."""
        with self._lock:
            self._start_child()

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end_child()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exchange(self, request: bytes) -> tuple[ReadDocument, str] | str:
        try:
            child = self._start_child()
            if child is None:
                return "the process that reads such files could not be started"
            body, is_last = _ask(child, request, self.limits.seconds)
            if is_last:
                self._end_child()
            return wire.unpack_reply(body)
        except TimeoutError:
            reason = f"took longer than {self.limits.seconds:g} s to read"
        except wire.WireError:
            reason = "the reader gave an answer that makes no sense"
        except (EOFError, BrokenPipeError):
            reason = self._cause_of_death()
        except BaseException:
            self._end_child()  # interrupted in the middle of an answer
            raise
        self._end_child()
        return reason

    def _start_child(self) -> ChildProcess | None:
        """Return the child, a new one where there is none that lives; None if it does not start."""
        if self._child is not None and self._child.process.poll() is not None:
            self._end_child()  # it ended between two files; that is nobody's fault
        if self._child is None:
            self._child = ChildProcess(
                "mlx_mixer.documents.reader_child", self.limits.memory_bytes, self.limits.seconds
            )
            if not self._child.is_ready():
                self._end_child()
        return self._child

    def _cause_of_death(self) -> str:
        assert self._child is not None
        status = self._child.exit_status()
        if status == EXIT_MEMORY:
            return f"needs more than {self.limits.memory_bytes / (1 << 30):.2g} GB of memory to read"
        if status is not None and status < 0:
            return f"crashed the reader ({Signals(-status).name}): damaged, or needs too much memory"
        return "stopped the reader: damaged"

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


def _ask(child: ChildProcess, request: bytes, seconds: float) -> tuple[bytes, bool]:
    """Send a request; return the reply's body, and whether the child has grown too large for another.

    Raises:
        TimeoutError: If that takes longer than `seconds`.
        EOFError, BrokenPipeError: If the child dies over it.
        WireError: If the reply is larger than any can be.
    """
    deadline = time.monotonic() + seconds
    child.send(request, deadline)
    length, is_last = wire.REPLY_HEADER.unpack(child.receive(wire.REPLY_HEADER.size, deadline))
    if length > wire.MAX_REPLY_BYTES:
        raise wire.WireError(f"a reply of {length} bytes")
    return child.receive(length, deadline), bool(is_last)
