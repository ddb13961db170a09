"""How many cores there are for this process."""

import os


def usable_cores() -> int:
    """The cores this process may run on; at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def computing_threads() -> int:
    """How many threads may compute at once: one for each core, or fewer where the usual variables say so."""
    asked = os.environ.get("MKL_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    return min(usable_cores(), int(asked)) if asked.isdecimal() and int(asked) else usable_cores()
