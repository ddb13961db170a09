"""The child's side of `child_process`: its pipes, the end of its parent, and the memory it may take."""

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

# What a child says once, when it is ready.
READY = b"R"
# Read or written at once, and what a pipe holds where the system can be asked for it.
PIPE_BYTES = 1 << 20
# A child ends by itself where it would fill the memory; a process may have let go of it only in part.
EXIT_MEMORY = 77
_WATCH_SECONDS = 0.05
_LOOK_SECONDS = 2.0


def serve(arguments: list[str]) -> tuple["queue.SimpleQueue[tuple[str, bytes]]", int]:
    """Make this process a child that serves requests, and tell the parent that it is ready.

    Args:
        arguments: Descriptor of the requests, of the replies, limit on the memory in bytes.

    Returns:
        The queue of requests, and the descriptor for the replies.
    """
    replies_to = int(arguments[1])
    limit_memory(int(arguments[2]))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, whatever it is at
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the parent to decide about
    requests = incoming(int(arguments[0]))
    write_all(replies_to, READY)
    return requests, replies_to


def incoming(descriptor: int) -> "queue.SimpleQueue[tuple[str, bytes]]":
    """Return the queue of requests, by the reader's name and the file's bytes.

    They are taken in also while one is worked on: that is how the end of the parent is noticed, and it ends the child.
    """
    requests: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(descriptor, requests, os.getppid()), daemon=True).start()
    return requests


def _receive(descriptor: int, requests: "queue.SimpleQueue[tuple[str, bytes]]", parent: int) -> None:
    received = bytearray()
    while True:
        try:
            received += _read(descriptor, parent)
            while request := wire.take_request(received):
                requests.put(request)
        except (EOFError, OSError):
            os._exit(0)
        except MemoryError:
            os._exit(EXIT_MEMORY)


def _read(descriptor: int, parent: int) -> bytes:
    """Whatever is in the pipe, many small requests at once."""
    # Another child of the parent may hold the pipe open after its end.
    while not select.select([descriptor], [], [], _LOOK_SECONDS)[0]:
        if os.getppid() != parent:
            raise EOFError
    part = os.read(descriptor, PIPE_BYTES)
    if not part:
        raise EOFError
    return part


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def limit_memory(limit: int) -> None:
    """End the process where it needs more memory than so many bytes, by `EXIT_MEMORY` or a `MemoryError`."""
    with suppress(ValueError, OSError):  # macOS knows the limit and does not keep it: `_watch_memory` does
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.Thread(target=_watch_memory, args=(limit,), daemon=True).start()


def _watch_memory(limit: int) -> None:
    while True:
        time.sleep(_WATCH_SECONDS)
        if resident_bytes() > limit:
            os._exit(EXIT_MEMORY)


def resident_bytes() -> int:
    """Memory in use; on macOS the most it ever was, in bytes there."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # The most it ever was would count the parent's here, see getrusage(2) and execve(2).
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  (twenty times a second)
        return int(file.read().split()[1]) * resource.getpagesize()
