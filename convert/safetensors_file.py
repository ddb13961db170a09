"""Our own strict reader of `.safetensors` files.

MLX accepts headers whose sizes wrap around, overlap or are negative, and can crash on them. This check accepts what
the reference implementation accepts, less duplicate keys, unknown fields and unprintable names, and bytes are then read
from the same open file that was checked.

Format: https://github.com/huggingface/safetensors#format.
"""

import io
from pathlib import Path
from typing import Any, NamedTuple

from convert.strict_json import parse_json
from convert.weight_file import (
    FLOAT_BYTES,
    MAX_DESCRIPTION_BYTES,
    Float32Array,
    TensorInfo,
    check_name,
    file_sha256,
    file_size,
    float32_from_bytes,
    open_regular,
    quoted,
)
from mlx_mixer.errors import ConversionError

LENGTH_BYTES = 8
MAX_WHOLE = 2**64 - 1
DTYPE_BITS = {
    "F4": 4,
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}


class _Entry(NamedTuple):
    begin: int
    end: int
    info: TensorInfo


class SafetensorsFile:
    """A checked `.safetensors` file; see `convert.weight_file.WeightFile`.

    Raises:
        ModelNotFoundError: If there is no such file.
        ConversionError: If it is not a regular file or its header is not exactly right.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_regular(path)
        try:
            header, self._data_start = _read_header(self._file, path)
            self.metadata = _metadata(header.pop("__metadata__", None), path)
            self._entries = {name: _entry(name, value, path) for name, value in header.items()}
            _check_layout(self._entries, file_size(self._file) - self._data_start, path)
        except BaseException:
            self._file.close()
            raise
        self.tensors = {name: entry.info for name, entry in self._entries.items()}

    def read(self, name: str) -> Float32Array:
        """Read one floating-point tensor as float32."""
        begin, end, info = self._entries[name]
        if info.dtype not in FLOAT_BYTES:
            raise ConversionError(f"{quoted(name)} in {self.path.name} has type {info.dtype}, not floating point")
        self._file.seek(self._data_start + begin)
        raw = self._file.read(end - begin)
        if len(raw) != end - begin:
            raise ConversionError(f"{self.path.name} became shorter while it was read")
        return float32_from_bytes(raw, info.dtype).reshape(info.shape)

    def sha256(self) -> str:
        """Hex digest of the whole file."""
        return file_sha256(self._file)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _read_header(file: io.BufferedReader, path: Path) -> tuple[dict[str, Any], int]:
    size = file_size(file)
    if size < LENGTH_BYTES:
        raise ConversionError(f"{path.name} is too short for a safetensors file ({size} bytes)")
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    if length > MAX_DESCRIPTION_BYTES:
        raise ConversionError(f"{path.name} announces a header of {length:,} bytes; at most {MAX_DESCRIPTION_BYTES:,}")
    if LENGTH_BYTES + length > size:
        raise ConversionError(
            f"{path.name} announces a header of {length:,} bytes but has {size:,} bytes in all; "
            "it was cut off: download or copy it again"
        )
    header = parse_json(file.read(length), f"the header of {path.name}")
    if not isinstance(header, dict):
        raise ConversionError(f"the header of {path.name} is not a table of tensors")
    return header, LENGTH_BYTES + length


def _metadata(value: object, path: Path) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ConversionError(f"the metadata in {path.name} is not a table of texts")
    return value


def _entry(name: str, value: object, path: Path) -> _Entry:
    check_name(name, path)
    where = f"{quoted(name)} in {path.name}"
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ConversionError(f"{where} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise ConversionError(f"{where} has an unknown type {quoted(dtype)}")
    if not _are_sizes(shape):
        raise ConversionError(f"{where} has an impossible shape {quoted(shape)}")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise ConversionError(f"{where} has impossible offsets {quoted(offsets)}")
    if _bits(shape, DTYPE_BITS[dtype]) != 8 * (offsets[1] - offsets[0]):
        raise ConversionError(
            f"{where}: shape {quoted(shape)} of {dtype} does not fill bytes {offsets[0]}-{offsets[1]}"
        )
    return _Entry(offsets[0], offsets[1], TensorInfo(dtype, tuple(shape)))


def _are_sizes(values: object) -> bool:
    # bool is an int to Python; JSON's true is no size.
    return isinstance(values, list) and all(type(value) is int and 0 <= value <= MAX_WHOLE for value in values)


def _bits(shape: list[int], bits_each: int) -> int | None:
    """Size of a tensor in bits, or None where a partial product leaves 64 bits, even if a later zero would undo it."""
    product = 1
    for factor in (*shape, bits_each):
        product *= factor
        if product > MAX_WHOLE:
            return None
    return product


def _check_layout(entries: dict[str, _Entry], data_size: int, path: Path) -> None:
    position = 0
    for begin, end, _ in sorted(entries.values(), key=lambda entry: (entry.begin, entry.end)):
        if begin != position:
            kind = "overlap" if begin < position else "leave a hole"
            raise ConversionError(f"{path.name} is damaged: its tensors {kind} at byte {min(begin, position)}")
        position = end
    if position != data_size:
        kind = "it was cut off: download or copy it again" if position > data_size else "it holds something else too"
        raise ConversionError(f"{path.name} has {data_size:,} bytes of data where its header says {position:,}; {kind}")
