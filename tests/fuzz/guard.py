"""What no input may do: write elsewhere, start a program, reach the network, import code, take memory or time.

The interpreter itself reports what happens (audit events), so nothing can be forgotten that a snapshot of a folder
would miss. A hook cannot be taken away again; it listens only inside `watched`.
"""

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

_FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "subprocess.Popen",
    "pty.spawn",
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "pickle.find_class",
    "ctypes.dlopen",
    "import",
    "exec",
    "compile",
    "webbrowser.",
    "urllib.Request",
)
# Events that change something, with the places of each path and of the open folder that it may be relative to.
_CHANGES = {
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.link": ((0, 2), (1, 3)),
    "os.symlink": ((1, 2),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.truncate": ((0, 9),),
    "os.utime": ((0, 3),),
    "os.setxattr": ((0, 9),),
}
_WAITING = 12
_LIBRARY = ctypes.CDLL(None)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class GuardBrokenError(BaseException):
    """An input made the reader do what it must not; no `except Exception` of a reader can hide it."""


class _State:
    is_watching = False
    allowed: Path | None = None
    is_hooked = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _State.is_watching:
        return
    if event == "open":
        path, mode, flags = arguments
        if _writes(mode, flags) and not _is_allowed(path):
            _break(f"{event} {path!r} {mode!r}")
    elif event in _CHANGES:
        for place, folder in _CHANGES[event]:
            if not _is_allowed(arguments[place], arguments[folder] if folder < len(arguments) else -1):
                _break(f"{event} {arguments[place]!r}")
    elif event.startswith(_FORBIDDEN):
        _break(f"{event} {arguments!r:.200}")


def _writes(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & _WRITING)


def _is_allowed(path: object, folder: object = -1) -> bool:
    if _State.allowed is None or not isinstance(path, str | bytes | os.PathLike):
        return False
    below = _path_of(folder) if isinstance(folder, int) and folder >= 0 else Path.cwd()
    return Path(os.path.normpath(below / os.fsdecode(path))).is_relative_to(_State.allowed)


def _path_of(descriptor: int) -> Path:
    if sys.platform == "linux":
        return Path(f"/proc/self/fd/{descriptor}").readlink()
    return Path(os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0")))


def _break(what: str) -> None:
    _State.is_watching = False
    raise GuardBrokenError(what)


@contextlib.contextmanager
def watched(allowed: Path | None, seconds: float) -> Iterator[None]:
    """Watch a block.

    Args:
        allowed: The one folder below which it may write; None for none.
        seconds: How long it may take.

    Raises:
        GuardBrokenError: If it does what it must not.
    """
    if not _State.is_hooked:
        sys.addaudithook(_hook)
        _State.is_hooked = True

    def too_late(_signal: int, _frame: FrameType | None) -> None:
        _break(f"busy for over {seconds} seconds")

    # Time on the processor, because a busy machine says nothing about the reader; and much more time on the clock, for
    # a reader that waits.
    before = {number: signal.signal(number, too_late) for number in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, _WAITING * seconds)
    _State.allowed, _State.is_watching = allowed, True
    try:
        yield
    finally:
        _State.is_watching = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def give_back_memory() -> None:
    """Let the C library return what is free; memory that it keeps would hide that it is taken again."""
    if sys.platform == "linux" and hasattr(_LIBRARY, "malloc_trim"):
        _LIBRARY.malloc_trim(0)


def forget_peak() -> None:
    """Begin anew with `peak_bytes`; elsewhere than on Linux it goes on, and sees only what exceeds all before."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_bytes() -> int:
    """The most memory that this process has held since `forget_peak`."""
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@contextlib.contextmanager
def memory_limit(spare: int) -> Iterator[None]:
    """Let the process take at most this much more address space; only Linux enforces it."""
    if sys.platform != "linux":
        yield
        return
    mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + spare, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
