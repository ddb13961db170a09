"""One writer at a time, by a lock of the operating system that a killed process cannot leave behind."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlx_mixer.errors import LibraryError


class LibraryBusyError(LibraryError):
    """Another process or thread is writing; later it will not be."""


@contextmanager
def writer_lock(library: Path, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the library's writer lock for a block.

    Args:
        library: Path of the database; the lock is a file beside it that holds the writer's process id.
        wait_seconds: How long to wait for another writer to finish.

    Raises:
        LibraryBusyError: If another process or thread is still writing after that time.
        LibraryError: If the folder is not writable.
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


@contextmanager
def watcher_lock(library: Path) -> Iterator[None]:
    """Be the one process that watches a library's folders.

    Raises:
        LibraryError: If another one does already.
    """
    with _role(library, ".watch", "watches this library"):
        yield


@contextmanager
def adapting_lock(library: Path) -> Iterator[None]:
    """Be the one process that trains a model on a library.

    Raises:
        LibraryError: If another one does already.
    """
    with _role(library, ".adapt", "adapts search to this library"):
        yield


def watching_process(library: Path) -> int | None:
    """Return the id of the process that watches a library's folders, if one does."""
    return _owner(library, ".watch")


def adapting_process(library: Path) -> int | None:
    """Return the id of the process that trains a model on a library, if one does."""
    return _owner(library, ".adapt")


@contextmanager
def _role(library: Path, suffix: str, what: str) -> Iterator[None]:
    """Hold a lock that does not keep others from writing."""
    file = library.with_name(library.name + suffix)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace") or "unknown"
            raise LibraryError(f"process {owner} {what} already") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _owner(library: Path, suffix: str) -> int | None:
    try:
        descriptor = os.open(library.with_name(library.name + suffix), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 32, 0)
        return int(owner) if owner.isdigit() else None
    finally:
        os.close(descriptor)
    return None


def _acquire(descriptor: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                owner = os.pread(descriptor, 32, 0).decode("ascii", "replace") or "unknown"
                raise LibraryBusyError(
                    f"this library is being written by process {owner}; searching works, try again when it is done"
                ) from None
            time.sleep(0.02)
        else:
            return
