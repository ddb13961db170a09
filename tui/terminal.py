"""What stands between the application and the terminal it was started in.

A full-screen application must not start where there is no terminal (Textual would hang), must not let anything but
itself write to the screen (C code writes to file descriptors past every Python redirection), and must leave the
terminal as it found it.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TextIO


def terminal_problem(environ: Mapping[str, str], stdin: TextIO | None, stdout: TextIO | None) -> str | None:
    """Return why the application cannot run here, as one line, or None."""
    if stdin is None or stdout is None or not stdin.isatty() or not stdout.isatty():
        return "the app needs a terminal; see `mlx-mixer --help` for commands that do without"
    if environ.get("TERM", "") in ("", "dumb"):
        return "the app needs a terminal that can move its cursor, and TERM is dumb or not set; see `mlx-mixer --help`"
    return None


@contextmanager
def screen_to_itself(log_file: Path) -> Iterator[TextIO]:
    """Send what is written to standard output and error to a log, and what the application draws to the terminal.

    Yields:
        The terminal, for the application and for programs it starts.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = {number: os.dup(number) for number in (1, 2)}
    terminal = os.fdopen(os.dup(saved[1]), "w", encoding="utf-8", errors="replace")
    log = _open_log(log_file)
    before = sys.__stdout__, sys.__stderr__
    try:
        for number in saved:
            os.dup2(log, number)
        # Textual's driver draws to `sys.__stderr__`, and how large the terminal is it asks `sys.__stdout__`, whatever
        # file descriptors these are.
        sys.__stdout__ = sys.__stderr__ = terminal  # type: ignore[misc]  # declared Final, but there is no other way
        yield terminal
    finally:
        sys.__stdout__, sys.__stderr__ = before  # type: ignore[misc]  # see above
        for number, original in saved.items():
            os.dup2(original, number)
            os.close(original)
        os.close(log)
        with contextlib.suppress(OSError):  # the terminal may be gone
            terminal.close()


def _open_log(log_file: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        return os.open(log_file, flags, 0o600)
    except OSError:
        return os.open(os.devnull, flags)


def leave_by_force(code: int) -> NoReturn:
    """End the process at once, without waiting for threads that cannot be interrupted."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
