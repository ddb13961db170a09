"""What must happen before MLX is imported: a tuned BLAS before MLX's own, memory that is kept, streams side by side.

The Linux wheel of MLX links the reference BLAS, about thirty times slower in float32 than a tuned one. Loading
Intel's `libmkl_rt` with its symbols made global *before* the first `import mlx.core` makes the dynamic linker resolve
the CBLAS calls of MLX to MKL. Elsewhere there is nothing to do: Apple's wheel uses Accelerate and Metal.
"""

import ctypes
import os
import site
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from mlx_mixer.memory import keep_freed_memory

if TYPE_CHECKING:
    from pathlib import Path


class BlasStatus(NamedTuple):
    """Which BLAS serves MLX's CPU matmuls.

    Attributes:
        name: "mkl", "reference" or "platform" (not Linux x86-64: nothing to replace).
        reason: One line for people: why it is this one.
    """

    name: str
    reason: str


@cache
def prepare() -> BlasStatus:
    """Put MKL in front of MLX's reference BLAS where that is possible; called once, when `mlx_mixer` is imported.

    Freed memory is kept too, see `mlx_mixer.memory`. Setting `MLX_MIXER_BLAS=reference` leaves the BLAS as shipped,
    which benchmarks use for comparison.

    Returns:
        What was done and why. Never raises: without MKL everything works, more slowly.
    """
    # os.uname and not the platform module, which costs more to import than all of this.
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return BlasStatus("platform", "MLX brings a tuned BLAS on this system")
    keep_freed_memory()
    # Graphs of several streams are put in order breadth first, as long as they are no wider than this; depth first, one
    # stream waits until the other is done. MLX's own 20 are fewer than a model has weights.
    os.environ.setdefault("MLX_BFS_MAX_WIDTH", "2000")
    if os.environ.get("MLX_MIXER_BLAS") == "reference":
        return BlasStatus("reference", "MLX_MIXER_BLAS=reference is set")
    if "mlx.core" in sys.modules:
        return BlasStatus("reference", "mlx was imported before mlx_mixer, too late to replace its BLAS")
    # MLX was compiled against the interface with 32-bit integers.
    os.environ.setdefault("MKL_INTERFACE_LAYER", "LP64")
    # MKL's threads spin for 200 ms after each product unless told otherwise, on the cores that put the next decode step
    # together meanwhile. Asleep at once they wake too late; this is between (decoding: 0.78 -> 0.84 of memory speed).
    os.environ.setdefault("KMP_BLOCKTIME", "30us")
    library = _find_mkl()
    if library is None:
        return BlasStatus("reference", "libmkl_rt was not found; `pip install mkl` makes matmuls about 30x faster")
    try:
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        return BlasStatus("reference", f"libmkl_rt could not be loaded: {error}")
    return BlasStatus("mkl", f"{library.name} answers MLX's matmuls")


@contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Let each matrix product have this many threads at most, if MKL computes them; for the whole process."""
    if prepare().name != "mkl":
        yield
        return
    mkl = ctypes.CDLL(None)  # its symbols are global
    before = mkl.MKL_Get_Max_Threads()
    mkl.MKL_Set_Num_Threads(count)
    try:
        yield
    finally:
        mkl.MKL_Set_Num_Threads(before)


def _find_mkl() -> "Path | None":
    from pathlib import Path  # a tenth of the start of a process that needs no BLAS

    # The wheel puts its libraries into the environment's lib folder, beside site-packages' parent.
    folders = [Path(sys.prefix) / "lib", Path(site.getuserbase()) / "lib"]
    return next((path for folder in folders for path in sorted(folder.glob("libmkl_rt.so*"))), None)
