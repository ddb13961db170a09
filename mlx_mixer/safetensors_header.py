"""A strict check of `.safetensors` headers.

MLX accepts headers whose sizes wrap around, overlap or are negative, and can crash on them, so every file is checked
here before `mx.load` sees it. The check accepts what the reference implementation accepts, less duplicate keys, unknown
fields and unprintable names.

Format: https://github.com/huggingface/safetensors#format.
"""

import io
from pathlib import Path
from typing import Any, NamedTuple

from mlx_mixer.errors import CheckpointError
from mlx_mixer.foreign import MAX_DESCRIPTION_BYTES, check_name, file_size, open_regular, quoted
from mlx_mixer.strict_json import parse_json

LENGTH_BYTES = 8
MAX_WHOLE = 2**64 - 1
# An empty tensor may have any other dimension in the format, but not in an array: MLX counts in 32 bits.
MAX_DIMENSION = 2**31 - 1
DTYPE_BITS = {
    "F4": 4,
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}


class TensorEntry(NamedTuple):
    """One tensor of a file: its bytes within the data, element type ("F32", "BF16", ...) and shape."""

    begin: int
    end: int
    dtype: str
    shape: tuple[int, ...]


class SafetensorsHeader(NamedTuple):
    """A checked header.

    Attributes:
        entries: Tensors by name.
        metadata: Free text that the file's writer noted.
        data_start: Where in the file the data begins.
    """

    entries: dict[str, TensorEntry]
    metadata: dict[str, str]
    data_start: int


def check_safetensors(path: Path) -> SafetensorsHeader:
    """Check a file's header; see `read_header`.

    Raises:
        ModelNotFoundError: If there is no such file.
        CheckpointError: If it is not a regular file or its header is not exactly right.
    """
    with open_regular(path) as file:
        return read_header(file, path)


def read_header(file: io.BufferedReader, path: Path) -> SafetensorsHeader:
    """Read and check the header of an open file.

    Args:
        file: Open at its beginning.
        path: Its name, for messages.

    Raises:
        CheckpointError: If the header is not exactly right.
    """
    header, data_start = _read_table(file, path)
    metadata = _metadata(header.pop("__metadata__", None), path)
    entries = {name: _entry(name, value, path) for name, value in header.items()}
    _check_layout(entries, file_size(file) - data_start, path)
    return SafetensorsHeader(entries, metadata, data_start)


def _read_table(file: io.BufferedReader, path: Path) -> tuple[dict[str, Any], int]:
    size = file_size(file)
    if size < LENGTH_BYTES:
        raise CheckpointError(f"{path.name} is too short for a safetensors file ({size} bytes)")
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    if length > MAX_DESCRIPTION_BYTES:
        raise CheckpointError(f"{path.name} announces a header of {length:,} bytes; at most {MAX_DESCRIPTION_BYTES:,}")
    if LENGTH_BYTES + length > size:
        raise CheckpointError(
            f"{path.name} announces a header of {length:,} bytes but has {size:,} bytes in all; "
            "it was cut off: download or copy it again"
        )
    header = parse_json(file.read(length), f"the header of {path.name}")
    if not isinstance(header, dict):
        raise CheckpointError(f"the header of {path.name} is not a table of tensors")
    return header, LENGTH_BYTES + length


def _metadata(value: object, path: Path) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise CheckpointError(f"the metadata in {path.name} is not a table of texts")
    return value


def _entry(name: str, value: object, path: Path) -> TensorEntry:
    check_name(name, path)
    where = f"{quoted(name)} in {path.name}"
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{where} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise CheckpointError(f"{where} has an unknown type {quoted(dtype)}")
    if not _are_sizes(shape):
        raise CheckpointError(f"{where} has an impossible shape {quoted(shape)}")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise CheckpointError(f"{where} has impossible offsets {quoted(offsets)}")
    if _bits(shape, DTYPE_BITS[dtype]) != 8 * (offsets[1] - offsets[0]):
        raise CheckpointError(
            f"{where}: shape {quoted(shape)} of {dtype} does not fill bytes {offsets[0]}-{offsets[1]}"
        )
    return TensorEntry(offsets[0], offsets[1], dtype, tuple(shape))


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


def _check_layout(entries: dict[str, TensorEntry], data_size: int, path: Path) -> None:
    position = 0
    for begin, end, _, _ in sorted(entries.values(), key=lambda entry: (entry.begin, entry.end)):
        if begin != position:
            kind = "overlap" if begin < position else "leave a hole"
            raise CheckpointError(f"{path.name} is damaged: its tensors {kind} at byte {min(begin, position)}")
        position = end
    if position != data_size:
        kind = "it was cut off: download or copy it again" if position > data_size else "it holds something else too"
        raise CheckpointError(f"{path.name} has {data_size:,} bytes of data where its header says {position:,}; {kind}")
