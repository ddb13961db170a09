"""The most memory that a piece of work takes."""

import resource
import sys
from pathlib import Path
from typing import Self

_STATUS = Path("/proc/self/status")


class MemoryPeak:
    """Measures a `with` block in a process that does nothing else.

    Attributes:
        added: Bytes of resident memory at the highest point, over those at the beginning.
    """

    def __init__(self) -> None:
        self.added = 0

    def __enter__(self) -> Self:
        self._before = _resident("VmRSS")
        return self

    def __exit__(self, *exception: object) -> None:
        self.added = max(0, _resident("VmHWM") - self._before)


def _resident(name: str) -> int:
    """A field of Linux's process status in bytes; elsewhere the highest memory so far, which is near to it at first.

    What getrusage says on Linux includes the process that started this one.
    """
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return 1024 * int(line.split()[1])
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else 1024 * highest
