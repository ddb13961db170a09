"""One pass over a weight file: its tensors in the order in which they lie there, and the digest of all of its bytes.

While the caller works on one piece, another thread hashes it, so a digest costs no second reading.
"""

import hashlib
import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from convert.number_format import as_bytes
from convert.sources.safetensors_file import SafetensorsFile
from convert.sources.weight_file import WeightFile
from mlx_mixer.errors import ConversionError
from mlx_mixer.safetensors_header import DTYPE_BITS

# Measured from 256 KiB to 8 MiB: smaller pieces cost more switching between threads, larger ones leave the cache.
PIECE_BYTES = 2 << 20
# How far the hash may lag behind, so that neither thread waits for the other on a busy machine.
_BUFFERS = 16


class Piece(NamedTuple):
    """Some consecutive numbers of a tensor.

    Attributes:
        name: Stored name of the tensor.
        dtype: Element type, as in safetensors.
        offset: How many of its numbers come before.
        data: The numbers, little-endian; valid until the next piece is asked for.
    """

    name: str
    dtype: str
    offset: int
    data: memoryview


class FileStream:
    """Reads a file once; iterate over it to its end.

    Args:
        file: The file.
        units: How many numbers of a tensor belong together (a row, or all): pieces are multiples of that. Tensors that
            are not named are hashed and passed over.

    Attributes:
        digest: SHA-256 of the whole file in hex, once the iteration has ended.
    """

    def __init__(self, file: WeightFile, units: Mapping[str, int]) -> None:
        self.digest = ""
        self._file = file
        self._units = units

    def __iter__(self) -> Iterator[Piece]:
        """Pieces of the named tensors, each tensor from its beginning to its end.

        Raises:
            ConversionError: If the file changed or became shorter.
        """
        with ThreadPoolExecutor(1) as hashing:
            if isinstance(self._file, SafetensorsFile):
                yield from self._in_order(self._file, hashing)
            else:
                yield from self._by_name(hashing)

    def _by_name(self, hashing: ThreadPoolExecutor) -> Iterator[Piece]:
        digest = hashing.submit(self._file.sha256)
        for name in self._file.tensors:
            if name in self._units:
                offset = 0
                for numbers in self._file.pieces(name, self._units[name]):
                    yield Piece(name, "F32", offset, as_bytes(numbers))
                    offset += len(numbers)
        self.digest = digest.result()

    def _in_order(self, file: SafetensorsFile, hashing: ThreadPoolExecutor) -> Iterator[Piece]:
        digest = hashlib.sha256()
        buffers = [bytearray() for _ in range(_BUFFERS)]
        busy: deque[Future[None]] = deque()
        turn = 0

        def read(begin: int, count: int) -> memoryview:
            nonlocal turn
            if len(busy) == _BUFFERS:
                busy.popleft().result()
            if len(buffers[turn]) < count:
                buffers[turn] = bytearray(count)
            piece = memoryview(buffers[turn])[:count]
            turn = (turn + 1) % _BUFFERS
            _read_into(file, piece, begin)
            busy.append(hashing.submit(digest.update, piece))
            return piece

        for begin in range(0, file.data_start, PIECE_BYTES):
            read(begin, min(PIECE_BYTES, file.data_start - begin))
        for name, entry in file.entries.items():
            width = DTYPE_BITS[entry.dtype] // 8
            unit = width * self._units.get(name, 1) or 1
            step = max(unit, PIECE_BYTES // unit * unit)
            for begin in range(entry.begin, entry.end, step):
                piece = read(file.data_start + begin, min(step, entry.end - begin))
                if name in self._units:
                    yield Piece(name, entry.dtype, (begin - entry.begin) // width, piece)
        while busy:
            busy.popleft().result()
        file.check_steady()
        self.digest = digest.hexdigest()


def _read_into(file: SafetensorsFile, buffer: memoryview, begin: int) -> None:
    rest = buffer
    while rest:
        count = _pread_into(file.descriptor, rest, begin)
        if count == 0:
            raise ConversionError(f"{file.path.name} became shorter while it was read; wait until it is complete")
        rest, begin = rest[count:], begin + count


def _pread_into(descriptor: int, buffer: memoryview, begin: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [buffer], begin)
    # Before macOS 11.
    data = os.pread(descriptor, len(buffer), begin)
    buffer[: len(data)] = data
    return len(data)
