"""First contact with files of unknown origin: open them without blocking, show what they hold without obeying it."""

import io
import os
import reprlib
import stat
from pathlib import Path

from mlx_mixer.errors import CheckpointError, ModelNotFoundError

# Headers, indexes and pickles describe tensors; the largest real ones stay far below this.
MAX_DESCRIPTION_BYTES = 16 << 20
MAX_NAME_LENGTH = 512


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading; anything else is refused before it can block.

    Raises:
        ModelNotFoundError: If there is nothing.
        CheckpointError: If it is a folder, pipe, device or not readable.
    """
    try:
        # A pipe without a writer would block here for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError as error:
        raise ModelNotFoundError(f"there is no file {path}") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CheckpointError(f"{path} is not a regular file; give a weight file or a checkpoint folder")
    return os.fdopen(descriptor, "rb")


def file_size(file: io.BufferedReader) -> int:
    """Size of an open file, in bytes."""
    return os.fstat(file.fileno()).st_size


def check_name(name: str, file: Path) -> None:
    """Refuse a tensor name that could not be shown or would not be one.

    Raises:
        CheckpointError: If it is empty, too long or holds unprintable characters.
    """
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise CheckpointError(f"{file.name} holds a tensor with an unusable name: {quoted(name)}")


def quoted(text: object) -> str:
    """Foreign text or numbers for a message: quoted, escapes visible, shortened."""
    short = reprlib.Repr()
    # Bounded in depth too: a few hundred bytes of pickle can describe a tuple whose full text has a billion characters.
    short.maxlevel, short.maxtuple, short.maxlist = 2, 8, 8
    short.maxstring = short.maxother = 80
    return short.repr(text)
