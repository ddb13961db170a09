"""What every file of tensors offers, whichever its format."""

import hashlib
import io
import math
import os
import reprlib
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mlx_mixer.errors import ConversionError, ModelNotFoundError

Float32Array = npt.NDArray[np.float32]

# Headers, indexes and pickles describe tensors; the largest real ones stay far below this.
MAX_DESCRIPTION_BYTES = 16 << 20
MAX_NAME_LENGTH = 512
FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


@dataclass(frozen=True)
class TensorInfo:
    """Element type (named as in safetensors: "F32", "BF16", ...) and shape of a stored tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


class WeightFile(Protocol):
    """An open, already checked file of named tensors."""

    @property
    def path(self) -> Path:
        """Where it is."""
        ...

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """What it holds, by name."""
        ...

    @property
    def metadata(self) -> Mapping[str, str]:
        """Free text that its writer noted."""
        ...

    def read(self, name: str) -> Float32Array:
        """Read one floating-point tensor, up-cast or rounded to float32."""
        ...

    def sha256(self) -> str:
        """Hex digest of the whole file."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading; anything else is refused before it can block.

    Raises:
        ModelNotFoundError: If there is nothing.
        ConversionError: If it is a folder, pipe, device or not readable.
    """
    try:
        # A pipe without a writer would block here for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError as error:
        raise ModelNotFoundError(f"there is no file {path}") from error
    except OSError as error:
        raise ConversionError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConversionError(f"{path} is not a regular file; give a weight file or a checkpoint folder")
    return os.fdopen(descriptor, "rb")


def file_size(file: io.BufferedReader) -> int:
    """Size of an open file, in bytes."""
    return os.fstat(file.fileno()).st_size


def file_sha256(file: io.BufferedReader) -> str:
    """Hex digest of an open file, from its beginning."""
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def check_name(name: str, file: Path) -> None:
    """Refuse a tensor name that could not be shown or would not be one.

    Raises:
        ConversionError: If it is empty, too long or holds unprintable characters.
    """
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise ConversionError(f"{file.name} holds a tensor with an unusable name: {quoted(name)}")


def quoted(text: object) -> str:
    """Foreign text or numbers for a message: quoted, escapes visible, shortened."""
    short = reprlib.Repr()
    # Bounded in depth too: a few hundred bytes of pickle can describe a tuple whose full text has a billion characters.
    short.maxlevel, short.maxtuple, short.maxlist = 2, 8, 8
    short.maxstring = short.maxother = 80
    return short.repr(text)


def float32_from_bytes(raw: bytes, dtype: str) -> Float32Array:
    """Decode little-endian floats of a type in `FLOAT_BYTES` into a flat float32 array."""
    if dtype == "BF16":
        # A bfloat16 is the upper half of a float32.
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, which the conversion refuses
        return np.frombuffer(raw, f"<f{FLOAT_BYTES[dtype]}").astype(np.float32)
