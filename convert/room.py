"""Whether the disk has room for what is about to be written."""

import shutil
from pathlib import Path

from mlx_mixer.errors import ResourceError

# Tokenizer, config and what the file system needs for itself.
SPARE_BYTES = 32 << 20


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


def _words(count: int) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 10**8 else f"{count / 1e6:,.1f} MB"
