"""What every file of tensors offers, whichever its format."""

import hashlib
import io
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

READ_AT_ONCE = 1 << 20
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

    def pieces(self, name: str, unit: int = 1) -> Iterator[Float32Array]:
        """The same flat, in pieces of `piece_size` numbers."""
        ...

    def sha256(self) -> str:
        """Hex digest of the whole file."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def piece_size(unit: int) -> int:
    """How many numbers are read at once, if multiples of `unit` belong together."""
    return max(unit, READ_AT_ONCE // 4 // unit * unit)


def file_sha256(file: io.BufferedReader) -> str:
    """Hex digest of an open file, from its beginning; leaves its position alone, so that another thread may read on."""
    digest, position = hashlib.sha256(), 0
    while block := os.pread(file.fileno(), READ_AT_ONCE, position):
        digest.update(block)
        position += len(block)
    return digest.hexdigest()


def float32_from_bytes(raw: bytes | memoryview, dtype: str) -> Float32Array:
    """Decode little-endian floats of a type in `FLOAT_BYTES` into a flat float32 array."""
    if dtype == "BF16":
        # A bfloat16 is the upper half of a float32.
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, which the conversion refuses
        return np.frombuffer(raw, f"<f{FLOAT_BYTES[dtype]}").astype(np.float32)
