"""The child process that reads documents whose parsers cannot be trusted: run as a module, ends with its parent.

Requests come in on one pipe, replies go out on another, each given as a file descriptor. Standard input, output and
error lead nowhere, so nothing a parser prints reaches the parent's terminal.
"""

import os
import queue
import resource
import select
import signal
import sys
import threading
import time
from contextlib import suppress

from mlx_mixer.documents import wire
from mlx_mixer.documents.formats.dispatch import read_content
from mlx_mixer.documents.readers import reader_named
from mlx_mixer.documents.unreadable import UnreadableError

_Request = tuple[str, bytes]
# It ends by itself where it would fill the memory; a process may have let go of it only in part.
EXIT_MEMORY = 77
# One that grew larger than this over a file is not kept for the next.
_MAX_KEPT_BYTES = 256 << 20
_WATCH_SECONDS = 0.05
_LOOK_SECONDS = 2.0


def main(arguments: list[str]) -> None:
    """Serve requests until the parent closes its end or dies.

    Args:
        arguments: Descriptor of the requests, of the replies, limit on the memory in bytes, limit on the time for one
            file in seconds.
    """
    requests_from, replies_to, memory, seconds = int(arguments[0]), int(arguments[1]), int(arguments[2]), arguments[3]
    _limit_memory(memory)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, whatever a parser is at
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the parent to decide about
    requests: queue.SimpleQueue[_Request] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests_from, requests, os.getppid()), daemon=True).start()
    threading.Thread(target=_watch_memory, args=(memory,), daemon=True).start()
    _write(replies_to, wire.READY)
    while True:
        name, data = requests.get()
        # The parent kills a little earlier; this is for when it no longer can.
        signal.setitimer(signal.ITIMER_REAL, float(seconds) + 5)
        reply = _reply(name, data)
        signal.setitimer(signal.ITIMER_REAL, 0)
        is_last = _resident_bytes() > _MAX_KEPT_BYTES
        _write(replies_to, wire.pack_reply(reply, is_last=is_last))


def _reply(name: str, data: bytes) -> bytes:
    try:
        return wire.pack_document(*read_content(data, reader_named(name)))
    except UnreadableError as error:
        return wire.pack_reason(str(error))
    except MemoryError:
        os._exit(EXIT_MEMORY)


def _receive(descriptor: int, requests: "queue.SimpleQueue[_Request]", parent: int) -> None:
    """Take requests in also while one is worked on: that is how the end of the parent is noticed."""
    while True:
        try:
            head = _read(descriptor, wire.REQUEST_HEADER.size, parent)
            name_length, data_length = wire.REQUEST_HEADER.unpack(head)
            name = wire.unpack_request(_read(descriptor, name_length, parent))
            requests.put((name, _read(descriptor, data_length, parent)))
        except (EOFError, OSError):
            os._exit(0)
        except MemoryError:
            os._exit(EXIT_MEMORY)


def _read(descriptor: int, length: int, parent: int) -> bytes:
    parts, missing = [], length
    while missing:
        # Another child of the parent may hold the pipe open after its end.
        while not select.select([descriptor], [], [], _LOOK_SECONDS)[0]:
            if os.getppid() != parent:
                raise EOFError
        part = os.read(descriptor, min(missing, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _limit_memory(limit: int) -> None:
    with suppress(ValueError, OSError):  # macOS knows the limit and does not keep it: `_watch_memory` does
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _watch_memory(limit: int) -> None:
    """End the process where it uses more memory than it may."""
    while True:
        time.sleep(_WATCH_SECONDS)
        if _resident_bytes() > limit:
            os._exit(EXIT_MEMORY)


def _resident_bytes() -> int:
    """Memory in use; on macOS the most it ever was, in bytes there."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # The most it ever was would count the parent's here, see getrusage(2) and execve(2).
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  (twenty times a second)
        return int(file.read().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main(sys.argv[1:])
