"""One run of a module of ours in a child process, and the two pipes that lead to it."""

import fcntl
import os
import select
import subprocess
import sys
import time
from contextlib import suppress

from mlx_mixer.documents.child_pipes import PIPE_BYTES, READY

# A sixth of a second on an idle machine.
_START_SECONDS = 30.0


class ChildProcess:
    """A child that was started; end it. It also ends with the process that started it (see `child_pipes`).

    Args:
        module: Run as a program. Its first two arguments are descriptors: of the requests, and of the replies.
        arguments: Its further arguments.
    """

    def __init__(self, module: str, *arguments: object) -> None:
        child_reads, self._requests = os.pipe()
        self._replies, child_writes = os.pipe()
        try:
            self.process = subprocess.Popen(
                # -P: no module from whatever folder the user is in.
                [sys.executable, "-P", "-m", module, *map(str, (child_reads, child_writes, *arguments))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(child_reads, child_writes),
                # Not the terminal's: Ctrl+C is the parent's to handle.
                start_new_session=True,
                # No BLAS is needed for this; loading one takes time and address space.
                env={**os.environ, "MLX_MIXER_BLAS": "reference"},
            )
        except BaseException:
            os.close(self._requests)
            os.close(self._replies)
            raise
        finally:
            os.close(child_reads)
            os.close(child_writes)
        for descriptor in (self._requests, self._replies):
            os.set_blocking(descriptor, False)
            if sys.platform == "linux":  # 64 KB otherwise, which is few files
                with suppress(OSError):
                    fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def is_ready(self) -> bool:
        """Wait until the child has started; whether it has."""
        try:
            return self.receive(len(READY), time.monotonic() + _START_SECONDS) == READY
        except (TimeoutError, EOFError):
            return False

    def send(self, data: bytes, deadline: float) -> None:
        """Write a request, until `deadline` by `time.monotonic` at the latest.

        Raises:
            TimeoutError: If it takes longer.
            BrokenPipeError: If the child died.
        """
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._requests, view[:PIPE_BYTES]) :]
            except BlockingIOError:
                _wait(self._requests, select.POLLOUT, deadline)

    def receive(self, length: int, deadline: float) -> bytes:
        """Read so many bytes of replies.

        Raises:
            TimeoutError: If it takes longer.
            EOFError: If the child died.
        """
        data = bytearray()
        while len(data) < length:
            data += self.receive_some(deadline, length - len(data))
        return bytes(data)

    def receive_some(self, deadline: float, most: int = PIPE_BYTES) -> bytes:
        """As `receive`, what is there, one byte at least."""
        while True:
            try:
                part = os.read(self._replies, min(most, PIPE_BYTES))
            except BlockingIOError:
                _wait(self._replies, select.POLLIN, deadline)
            else:
                if not part:
                    raise EOFError
                return part

    def exit_status(self) -> int | None:
        """Wait a moment for a child that let go of its pipes; its exit status, None if it goes on."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        return self.process.returncode

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._requests)
        os.close(self._replies)


def _wait(descriptor: int, event: int, deadline: float) -> None:
    remaining = deadline - time.monotonic()
    poll = select.poll()
    poll.register(descriptor, event)
    if remaining <= 0 or not poll.poll(remaining * 1000):
        raise TimeoutError
