import os
import pty
from collections.abc import Iterator
from typing import TextIO

import pytest

from tui.terminal import terminal_problem


@pytest.fixture
def tty() -> Iterator[TextIO]:
    master, slave = pty.openpty()
    with os.fdopen(slave, "r") as file:
        yield file
    os.close(master)


@pytest.fixture
def pipe() -> Iterator[TextIO]:
    read, write = os.pipe()
    with os.fdopen(read, "r") as file:
        yield file
    os.close(write)


def test_a_real_terminal_is_accepted(tty: TextIO) -> None:
    assert terminal_problem({"TERM": "xterm"}, tty, tty) is None


def test_pipes_on_either_side_and_closed_streams_are_refused(tty: TextIO, pipe: TextIO) -> None:
    for stdin, stdout in [(pipe, tty), (tty, pipe), (None, tty), (tty, None)]:
        assert "needs a terminal" in str(terminal_problem({"TERM": "xterm"}, stdin, stdout))


@pytest.mark.parametrize("environ", [{}, {"TERM": ""}, {"TERM": "dumb"}])
def test_a_terminal_that_cannot_move_its_cursor_is_refused(environ: dict[str, str], tty: TextIO) -> None:
    assert "TERM" in str(terminal_problem(environ, tty, tty))
