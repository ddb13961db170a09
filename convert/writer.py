"""The weight files of a model folder, written piece by piece: sizes are known beforehand, so headers come first.

Files follow https://github.com/huggingface/safetensors#format, and the naming of shards and their index is the Hub's.
"""

import json
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from mlx_mixer.atomic import write_atomically
from mlx_mixer.errors import ConversionError
from mlx_mixer.safetensors_header import DTYPE_BITS
from mlx_mixer.stored_weights import INDEX_NAME, WEIGHTS_NAME

MAX_SHARD_BYTES = 2_000_000_000
# A process may have only 256 files open on macOS.
_MAX_SHARDS = 100
_ALIGNMENT = 8
_METADATA = {"format": "mlx"}


@dataclass(frozen=True)
class TensorSpec:
    """A tensor to be written: its name, element type as in safetensors, and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its data."""
        bits = DTYPE_BITS[self.dtype]
        for size in self.shape:
            bits *= size
        return bits // 8


def divide_into_shards(specs: Sequence[TensorSpec], max_bytes: int) -> list[list[TensorSpec]]:
    """Divide tensors into files, in order; one that is larger than `max_bytes` gets a file of its own."""
    shards: list[list[TensorSpec]] = [[]]
    filled = 0
    for spec in specs:
        if shards[-1] and filled + spec.nbytes > max_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(spec)
        filled += spec.nbytes
    return shards


class WeightWriter:
    """Open weight files of a model folder; a context manager that closes them.

    Args:
        folder: An existing folder.
        specs: All tensors, in the order in which they will be written.
        max_shard_bytes: Data of one file.

    Raises:
        OSError: If the files cannot be made.
    """

    def __init__(self, folder: Path, specs: Sequence[TensorSpec], max_shard_bytes: int = MAX_SHARD_BYTES) -> None:
        self._folder = folder
        least = sum(spec.nbytes for spec in specs) // _MAX_SHARDS
        shards = divide_into_shards(specs, max(max_shard_bytes, least))
        names = (
            [WEIGHTS_NAME]
            if len(shards) == 1
            else [f"model-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
        )
        self._sizes = {spec.name: spec.nbytes for spec in specs}
        self._missing = dict(self._sizes)
        self._places: dict[str, tuple[int, int]] = {}
        self._left: dict[int, int] = {}
        # A finished file goes to the disk while the next one is written.
        self._syncing = ThreadPoolExecutor(1)
        self._syncs: list[Future[None]] = []
        self._descriptors: list[int] = []
        self._weight_map: dict[str, str] = {}
        self.files = tuple(folder / name for name in names)
        try:
            for file, shard in zip(self.files, shards, strict=True):
                self._begin(file, shard)
        except BaseException:
            self.close()
            raise

    def write(self, name: str, offset: int, data: "memoryview | bytes") -> None:
        """Write bytes of a tensor at an offset within it; every byte is to be written once.

        Raises:
            OSError: If the disk is full.
        """
        descriptor, begin = self._places[name]
        rest = memoryview(data).cast("B")
        self._missing[name] -= len(rest)
        self._left[descriptor] -= len(rest)
        position = begin + offset
        while rest:
            written = os.pwrite(descriptor, rest, position)
            rest, position = rest[written:], position + written
        if self._left[descriptor] == 0:
            self._syncs.append(self._syncing.submit(os.fsync, descriptor))

    def finish(self) -> None:
        """Wait until the disk has everything, and write the index if there are several files.

        Raises:
            ConversionError: If a tensor was not written whole.
            OSError: If the disk failed.
        """
        for name, missing in self._missing.items():
            if missing:
                raise ConversionError(f"{name} lacks {missing:,} bytes; this is a fault of the converter")
        for sync in self._syncs:
            sync.result()
        if len(self.files) > 1:
            size = sum(self._sizes.values())
            index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(self._weight_map.items()))}
            write_atomically(self._folder / INDEX_NAME, (json.dumps(index, indent=2) + "\n").encode())

    def close(self) -> None:
        """Close the files."""
        self._syncing.shutdown()
        while self._descriptors:
            os.close(self._descriptors.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, file: Path, shard: Sequence[TensorSpec]) -> None:
        header: dict[str, object] = {"__metadata__": _METADATA}
        offsets, end = {}, 0
        # Wider numbers first, so that each lies at a multiple of its size.
        for spec in sorted(shard, key=lambda spec: -DTYPE_BITS[spec.dtype]):
            offsets[spec.name], end = end, end + spec.nbytes
            header[spec.name] = {
                "dtype": spec.dtype,
                "shape": list(spec.shape),
                "data_offsets": [offsets[spec.name], end],
            }
        raw = json.dumps(header, separators=(",", ":")).encode()
        raw += b" " * (-len(raw) % _ALIGNMENT)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o644)
        self._descriptors.append(descriptor)
        start = _ALIGNMENT + len(raw)
        _write_all(descriptor, len(raw).to_bytes(_ALIGNMENT, "little") + raw)
        self._left[descriptor] = end
        for name, offset in offsets.items():
            self._places[name] = (descriptor, start + offset)
            self._weight_map[name] = file.name


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
