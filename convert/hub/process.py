"""A task of the Hub, run in a child process that can be stopped at any moment and ends with its parent."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlx_mixer import errors
from mlx_mixer.errors import HubError, MixerError

MAX_LINE_BYTES = 128 << 20
ENDING_SECONDS = 2.0
_ENVIRONMENT = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

Report = Callable[[Mapping[str, Any]], None]
"""Called with {"stage", "file", "done", "total"}; sizes in bytes."""


class TaskStoppedError(MixerError):
    """The task was stopped on request; what has been fetched is kept."""


class HubTask:
    """One task; `wait` runs it, `stop` ends it from any thread."""

    def __init__(self, request: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> None:
        self._request = dict(request)
        self._environ = dict(os.environ if environ is None else environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False
        self._lock = threading.Lock()

    def wait(self, report: Report | None = None, *, timeout_seconds: float | None = None) -> Any:  # what JSON can hold
        """Run the task to its end.

        Args:
            report: Called on this thread as the task goes on.
            timeout_seconds: After so long it is stopped; None for tasks that may take as long as they make progress.

        Raises:
            TaskStoppedError: If `stop` was called.
            MixerError: What the task ended with, of the class it had there.
            HubError: If the child died, or took too long.
        """
        with tempfile.TemporaryFile() as noise:
            process = self._start(noise)
            too_long = threading.Event()
            timer = threading.Timer(timeout_seconds or 0, _stop_late, (process, too_long))
            if timeout_seconds is not None:
                timer.start()
            try:
                answer = self._listen(process, report or (lambda _: None))
            finally:
                timer.cancel()
                _end(process)
            if answer is not None:
                return _result(answer)
            if self._is_stopped:
                raise TaskStoppedError("stopped; what has been fetched is kept, and the next try goes on from there")
            if too_long.is_set():
                raise HubError(f"the Hub took longer than {timeout_seconds:.0f} seconds; try again later")
            raise HubError(f"the download process died (status {process.returncode}): {_last_line(noise)}")

    def stop(self) -> None:
        """End the task at once."""
        with self._lock:
            self._is_stopped = True
            if self._process is not None:
                self._process.kill()

    def _start(self, noise: Any) -> subprocess.Popen[bytes]:  # any binary file with a descriptor
        # "-P" and a path of our own: a file named json.py in the current folder must not be run.
        root = str(Path(__file__).resolve().parents[2])
        with self._lock:
            if self._is_stopped:
                raise TaskStoppedError("stopped before it began")
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "convert.hub.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=noise,
                env={**self._environ, **_ENVIRONMENT, "PYTHONPATH": root},
                # Ctrl+C is for the parent, which stops the child.
                start_new_session=True,
            )
            self._process = process
        assert process.stdin is not None, "asked for above"
        with contextlib.suppress(BrokenPipeError):  # it died at once; whoever listens to it will say so
            process.stdin.write(json.dumps(self._request).encode() + b"\n")
            process.stdin.flush()
        return process

    def _listen(self, process: subprocess.Popen[bytes], report: Report) -> Mapping[str, Any] | None:
        assert process.stdout is not None, "asked for in _start"
        while line := process.stdout.readline(MAX_LINE_BYTES):
            if not line.endswith(b"\n"):
                return None  # the child was killed in the middle of it
            message = json.loads(line)
            if "progress" not in message:
                answer: Mapping[str, Any] = message
                return answer
            report(message["progress"])
        return None


def _stop_late(process: subprocess.Popen[bytes], too_long: threading.Event) -> None:
    too_long.set()
    process.kill()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the child if it has not, and everything that is held for it."""
    try:
        # One that has answered, or failed, is about to end by itself, with a status that says more.
        process.wait(0 if sys.exc_info()[1] is not None else ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:  # the rest of a request that nobody reads
                continue


def _result(answer: Mapping[str, Any]) -> Any:  # what JSON can hold
    if "error" in answer:
        raise _KINDS.get(answer.get("kind", ""), HubError)(answer["error"])
    return answer["result"]


def _last_line(noise: Any) -> str:  # any binary file
    noise.seek(0, os.SEEK_END)
    noise.seek(max(0, noise.tell() - 4096))
    lines = noise.read().decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


_KINDS: dict[str, type[MixerError]] = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, MixerError)
}
