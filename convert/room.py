"""Whether the disk has room for what is about to be written, and memory for what is about to be compared."""

import os
import shutil
from pathlib import Path

from mlx_mixer.errors import ResourceError

# Tokenizer, config and what the file system needs for itself.
SPARE_BYTES = 32 << 20
# A model is verified in float32; what it computes and what it is compared with come on top.
VERIFIED_BYTES_EACH = 5
_MEMORY = Path("/proc/meminfo")


def require_disk(out: Path, nbytes: int) -> None:
    """Refuse to begin what cannot be finished.

    Args:
        out: Where the folder will be; it need not exist yet.
        nbytes: Size of its weights.

    Raises:
        ResourceError: If the disk has less room.
    """
    folder = out.absolute().parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return  # writing will tell
    if nbytes + SPARE_BYTES > free:
        raise ResourceError(
            f"the model takes {_words(nbytes)} and {folder} has {_words(free)} free; make room there, choose another "
            "place, or store it in fewer bits: --dtype float16 or --quantize 4"
        )


def require_memory(parameters: int) -> None:
    """Refuse to verify what does not fit into memory, before hours are spent on writing it.

    Args:
        parameters: Number of the model's values.

    Raises:
        ResourceError: If there is less memory.
    """
    needed, free = VERIFIED_BYTES_EACH * parameters, free_memory()
    if free is not None and needed > free:
        raise ResourceError(
            f"to verify the model takes {_words(needed)} of memory and {_words(free)} are free; "
            "to convert it unverified, which takes little, give --no-verify"
        )


def free_memory() -> int | None:
    """Bytes that can be had without swapping; where the system does not say, all there are; None if unknown."""
    try:
        for line in _MEMORY.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass  # not Linux
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _words(count: int) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 10**8 else f"{count / 1e6:,.1f} MB"
