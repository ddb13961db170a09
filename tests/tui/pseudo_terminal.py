"""A program in a real pseudo-terminal, and a reader of what it draws. Standard library only."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

_SEQUENCE = re.compile(
    r"\x1b\[(?P<private>[?<>=]?)(?P<arguments>[0-9;:]*)[ -/]*(?P<final>[@-~])"  # CSI
    r"|\x1b\](?P<osc>[^\x07\x1b]*)(?:\x07|\x1b\\)"
    r"|\x1bP[^\x1b]*\x1b\\"
    r"|\x1b[()][A-Z0-9]"
    r"|\x1b[=>78cDEHMNOZ]"
)


# Makes the terminal the controlling one of the new session, then becomes the program. (A `preexec_fn` would do this in
# the test's own process after a fork, which newer Pythons warn about.)
_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class DrawnScreen:
    """The part of a terminal that Textual uses: absolute moves, text, line ends, erasing."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self._cells = [[" "] * columns for _ in range(rows)]
        self._row = self._column = 0
        self._rest = ""

    def feed(self, text: str) -> None:
        text = self._rest + text
        position = 0
        while position < len(text):
            if text[position] != "\x1b":
                self._put(text[position])
                position += 1
                continue
            match = _SEQUENCE.match(text, position)
            if match is None:
                if len(text) - position < 64:  # not all of it has arrived
                    break
                raise AssertionError(f"unknown escape sequence {text[position : position + 20]!r}")
            self._obey(match)
            position = match.end()
        self._rest = text[position:]

    @property
    def text(self) -> str:
        return "\n".join("".join(row).rstrip() for row in self._cells)

    def _put(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._row = min(self._row + 1, self.rows - 1)
        elif character == "\b":
            self._column = max(0, self._column - 1)
        elif character >= " " and self._column < self.columns and self._row < self.rows:
            self._cells[self._row][self._column] = character
            self._column += 2 if unicodedata.east_asian_width(character) in "WF" else 1

    def _obey(self, match: re.Match[str]) -> None:
        if match["final"] is None or match["private"]:
            return
        numbers = [int(number or 0) for number in re.split("[;:]", match["arguments"])]
        first = numbers[0]
        if match["final"] in "Hf":
            self._row = max(first, 1) - 1
            self._column = max(numbers[1] if len(numbers) > 1 else 1, 1) - 1
        elif match["final"] == "C":
            self._column += max(first, 1)
        elif match["final"] == "J":
            self._cells = [[" "] * self.columns for _ in range(self.rows)]
        elif match["final"] == "K":
            self._cells[self._row][self._column :] = [" "] * (self.columns - self._column)


class PseudoTerminal:
    """Runs a command in a terminal of its own.

    Args:
        command: Program and arguments.
        environ: Its whole environment.
        size: Columns and rows.
        folder: Its working directory.
    """

    def __init__(
        self, command: Sequence[str], *, environ: Mapping[str, str], size: tuple[int, int] = (80, 24), folder: Path
    ) -> None:
        self.screen = DrawnScreen(*size)
        self.output = ""
        self._master, slave = pty.openpty()
        _set_size(slave, *size)
        self.settings_before = termios.tcgetattr(slave)
        self._slave = slave
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=dict(environ),
            cwd=folder,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.hang_up()

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def read(self, seconds: float) -> None:
        """Read what is there, waiting at most this long for something to come."""
        if self._master >= 0 and select.select([self._master], [], [], seconds)[0]:
            try:
                text = os.read(self._master, 65536).decode("utf-8", errors="surrogateescape")
            except OSError:
                return
            self.output += text
            self.screen.feed(text)

    def wait_for(self, wanted: str | Callable[[str], object], *, seconds: float = 60) -> float:
        """Read until the screen holds a text, or a predicate of it is true; return how long that took."""
        is_there = (lambda text: wanted in text) if isinstance(wanted, str) else wanted
        began = time.monotonic()
        while not is_there(self.screen.text):
            if time.monotonic() - began > seconds:
                raise AssertionError(f"never saw {wanted!r}; the screen is:\n{self.screen.text}")
            self.read(0.1)
        return time.monotonic() - began

    def wait_for_exit(self, *, seconds: float = 30) -> tuple[int, float]:
        """Read until the program has ended; return its exit code and how long that took."""
        began = time.monotonic()
        while self.process.poll() is None:
            if time.monotonic() - began > seconds:
                raise AssertionError(f"still running; the screen is:\n{self.screen.text}")
            self.read(0.02)
        took = time.monotonic() - began
        while self._master >= 0 and select.select([self._master], [], [], 0.05)[0]:
            before = len(self.output)
            self.read(0)
            if len(self.output) == before:
                break
        return self.process.returncode, took

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size, as dragging its window does; what it showed is gone."""
        self.screen = DrawnScreen(columns, rows)
        _set_size(self._master, columns, rows)

    def hang_up(self) -> None:
        """Close the terminal, as closing its window does."""
        for descriptor in (self._slave, self._master):
            if descriptor >= 0:
                os.close(descriptor)
        self._slave = self._master = -1

    @property
    def stray_controls(self) -> list[str]:
        """Control characters outside the sequences an application needs, and sequences that reach beyond the screen."""
        sequences = [match.group() for match in _SEQUENCE.finditer(self.output)]
        # Textual itself sets the shape of the mouse pointer (OSC 22).
        own = "\x1b]22;default\x07"
        reaching = [sequence for sequence in sequences if sequence.startswith(("\x1b]", "\x1bP")) and sequence != own]
        rest = _SEQUENCE.sub("", self.output)
        return reaching + [c for c in rest if unicodedata.category(c) == "Cc" and c not in "\r\n\b\t"]

    @property
    def takes_keys(self) -> bool:
        """Whether the program has switched off line editing, under which Ctrl+Q would mean "go on printing"."""
        return not termios.tcgetattr(self._slave)[3] & termios.ICANON

    @property
    def is_restored(self) -> bool:
        """Whether every mode was switched off again, the cursor is shown, and the line settings are back."""
        modes = {}
        for private, number, final in re.findall(r"\x1b\[(\?)(\d+)([hl])", self.output):
            modes[private + number] = final
        off = all(
            modes.get(mode, "l") == "l" for mode in ("?1049", "?1000", "?1002", "?1003", "?1006", "?2004", "?1004")
        )
        return off and modes.get("?25") == "h" and termios.tcgetattr(self._slave) == self.settings_before


def _set_size(terminal: int, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
