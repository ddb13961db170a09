"""The tensors of a `.safetensors` file, read from the same open file whose header was checked."""

from collections.abc import Iterator
from pathlib import Path

from convert.foreign import as_conversion_error, open_regular
from convert.sources.steady_file import check_steady, read_exactly, stamp_of
from convert.sources.weight_file import (
    FLOAT_BYTES,
    Float32Array,
    TensorInfo,
    file_sha256,
    float32_from_bytes,
    piece_size,
)
from mlx_mixer.errors import ConversionError
from mlx_mixer.foreign import quoted
from mlx_mixer.safetensors_header import MAX_DIMENSION, read_header


class SafetensorsFile:
    """A checked `.safetensors` file; see `convert.sources.weight_file.WeightFile`.

    Attributes:
        entries: Bytes within the data, element type and shape of every tensor, in the order of the bytes.
        data_start: Where in the file the data begins.

    Raises:
        ModelNotFoundError: If there is no such file.
        ConversionError: If it is not a regular file or its header is not exactly right.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_regular(path)
        self._stamp = stamp_of(self._file)
        try:
            with as_conversion_error():
                self.entries, self.metadata, self.data_start = read_header(self._file, path)
        except BaseException:
            self._file.close()
            raise
        self.entries = dict(sorted(self.entries.items(), key=lambda item: item[1].begin))
        self.tensors = {name: TensorInfo(entry.dtype, entry.shape) for name, entry in self.entries.items()}

    def read(self, name: str) -> Float32Array:
        """Read one floating-point tensor as float32."""
        begin, end, dtype, shape = self.entries[name]
        if dtype not in FLOAT_BYTES:
            raise ConversionError(f"{quoted(name)} in {self.path.name} has type {dtype}, not floating point")
        raw = read_exactly(self._file, self.data_start + begin, end - begin, self.path)
        self.check_steady()
        if max(shape, default=0) > MAX_DIMENSION:
            raise ConversionError(f"{quoted(name)} in {self.path.name} has an impossible shape {quoted(shape)}")
        return float32_from_bytes(raw, dtype).reshape(shape)

    def pieces(self, name: str, unit: int = 1) -> Iterator[Float32Array]:
        """The numbers of a floating-point tensor in order, some at a time."""
        begin, end, dtype, _ = self.entries[name]
        step = piece_size(unit) * FLOAT_BYTES[dtype]
        for start in range(begin, end, step):
            raw = read_exactly(self._file, self.data_start + start, min(step, end - start), self.path)
            yield float32_from_bytes(raw, dtype)
        self.check_steady()

    @property
    def descriptor(self) -> int:
        """Of the open file, for reads at any place."""
        return self._file.fileno()

    def check_steady(self) -> None:
        """Raise `ConversionError` if the file was written to since its header was checked."""
        check_steady(self._file, self._stamp, self.path)

    def sha256(self) -> str:
        """Hex digest of the whole file."""
        return file_sha256(self._file)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
