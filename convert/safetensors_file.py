"""The tensors of a `.safetensors` file, read from the same open file whose header was checked."""

from pathlib import Path

from convert.foreign import as_conversion_error, open_regular
from convert.steady_file import check_steady, read_exactly, stamp_of
from convert.weight_file import (
    FLOAT_BYTES,
    Float32Array,
    TensorInfo,
    file_sha256,
    float32_from_bytes,
)
from mlx_mixer.errors import ConversionError
from mlx_mixer.foreign import quoted
from mlx_mixer.safetensors_header import read_header


class SafetensorsFile:
    """A checked `.safetensors` file; see `convert.weight_file.WeightFile`.

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
                self._entries, self.metadata, self._data_start = read_header(self._file, path)
        except BaseException:
            self._file.close()
            raise
        self.tensors = {name: TensorInfo(entry.dtype, entry.shape) for name, entry in self._entries.items()}

    def read(self, name: str) -> Float32Array:
        """Read one floating-point tensor as float32."""
        begin, end, dtype, shape = self._entries[name]
        if dtype not in FLOAT_BYTES:
            raise ConversionError(f"{quoted(name)} in {self.path.name} has type {dtype}, not floating point")
        raw = read_exactly(self._file, self._data_start + begin, end - begin, self.path)
        check_steady(self._file, self._stamp, self.path)
        return float32_from_bytes(raw, dtype).reshape(shape)

    def sha256(self) -> str:
        """Hex digest of the whole file."""
        return file_sha256(self._file)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
