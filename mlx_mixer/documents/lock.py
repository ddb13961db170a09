"""One writer at a time, by a lock of the operating system that a killed process cannot leave behind."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlx_mixer.errors import LibraryError


@contextmanager
def writer_lock(library: Path, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the library's writer lock for a block.

    Args:
        library: Path of the database; the lock is a file beside it that holds the writer's process id.
        wait_seconds: How long to wait for another writer to finish.

    Raises:
        LibraryError: If another process or thread is still writing after that time, or the folder is not writable.
    """
    path = library.with_name(library.name + ".lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LibraryError(f"cannot write to {path}: {error.strerror}") from error
    try:
        _acquire(descriptor, time.monotonic() + wait_seconds)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)  # also lets go of the lock


def _acquire(descriptor: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                owner = os.pread(descriptor, 32, 0).decode("ascii", "replace") or "unknown"
                raise LibraryError(
                    f"this library is being written by process {owner}; searching works, try again when it is done"
                ) from None
            time.sleep(0.02)
        else:
            return
