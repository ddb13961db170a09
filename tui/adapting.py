"""Adapting search to the user's files: a process of its own, so that neither writing nor searching waits for it."""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

from tui.events import IndexingFinished, IndexingProgress, LibraryEvent, LibraryFailed, SearchAdapted

COMMAND = (sys.executable, "-m", "mlx_mixer", "train", "retrieval", "--docs")
_STEP = re.compile(r"(.+) ([\d,]+)/([\d,]+)$")
_STAGE = "adapting"
_NAME = "mlx-mixer: "
_KILL_SECONDS = 5.0

Emit = Callable[[LibraryEvent], None]


class Adapting:
    """Runs `mlx-mixer train retrieval --docs` and tells how it goes on; a second call while it runs does nothing.

    Args:
        emit: Called from a thread of its own.
        command: What to run.
    """

    def __init__(self, emit: Emit, command: Sequence[str] = COMMAND) -> None:
        self._emit = emit
        self._command = command
        self._child: subprocess.Popen[str] | None = None
        self._is_stopped = False

    @property
    def is_running(self) -> bool:
        return self._child is not None

    def start(self) -> None:
        """Begin; reported by `IndexingProgress`, `IndexingFinished` and, if it came to an end, `SearchAdapted`."""
        if self._child is not None:
            return
        self._is_stopped = False
        # A session of its own: Ctrl+C in this terminal is for the application.
        child = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self._child = child
        threading.Thread(target=self._follow, args=(child,), name="adapting", daemon=True).start()

    def stop(self) -> None:
        """End it, without waiting for that; nothing is changed then."""
        child = self._child
        if child is None:
            return
        self._is_stopped = True
        # As Ctrl+C does: it tidies up after itself.
        child.send_signal(signal.SIGINT)
        timer = threading.Timer(_KILL_SECONDS, child.kill)
        timer.daemon = True
        timer.start()

    def _follow(self, child: "subprocess.Popen[str]") -> None:
        assert child.stderr is not None
        assert child.stdout is not None
        self._emit(IndexingProgress(_STAGE, 0, 0, "looking at your files"))
        last = ""
        with child:  # closes the pipes and waits for the end
            for line in child.stderr:
                last = line.strip() or last
                self._emit(_progress(last))
            lines = [line.strip() for line in child.stdout if line.strip()]
        code = child.returncode
        self._child = None
        if self._is_stopped:
            self._emit(IndexingFinished("not adapted; nothing was changed", stopped=True))
        elif code:
            self._emit(LibraryFailed(last.removeprefix(_NAME)))
        else:
            summary = _summary(lines)
            self._emit(IndexingFinished(summary))
            self._emit(SearchAdapted(summary))


def _progress(line: str) -> IndexingProgress:
    step = _STEP.match(line)
    if step is None:
        return IndexingProgress(_STAGE, 0, 0, line)
    done, total = (int(step[number].replace(",", "")) for number in (2, 3))
    return IndexingProgress(_STAGE, done, total, step[1])


def _summary(lines: Sequence[str]) -> str:
    """What the command concludes: the line that begins with "It"."""
    return next((line for line in reversed(lines) if line.startswith("It ")), "done")
