"""Makers of small weight files, byte by byte, without the libraries that usually write them."""

import io
import json
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

State = dict[str, npt.NDArray[np.float32]]
STORAGES = {
    "<f4": "FloatStorage",
    "<f8": "DoubleStorage",
    "<f2": "HalfStorage",
    "<i8": "LongStorage",
    "|b1": "BoolStorage",
}
NAMES = {"<f4": "F32", "<f8": "F64", "<f2": "F16", "<i8": "I64", "|b1": "BOOL"}


def safetensors_bytes(header: Any, data: bytes = b"") -> bytes:
    """A file with this header (bytes are taken as they are) and data."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def write_safetensors(
    path: Path, state: Mapping[str, npt.NDArray[Any]], metadata: dict[str, str] | None = None
) -> Path:
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for name, array in state.items():
        raw = np.ascontiguousarray(array).tobytes()
        header[name] = entry(NAMES[array.dtype.str], list(array.shape), len(data), len(data) + len(raw))
        data += raw
    path.write_bytes(safetensors_bytes(header, data))
    return path


@dataclass(frozen=True)
class Name:
    """A global, as a pickle names it."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """A call of a global."""

    function: Name
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Stored:
    """A persistent id."""

    fields: tuple[Any, ...]


ORDERED_DICT = Name("collections", "OrderedDict")
REBUILD = Name("torch._utils", "_rebuild_tensor_v2")


def pickled(value: Any) -> bytes:
    """A protocol 2 pickle, written by hand so that names need not be importable."""
    return b"\x80\x02" + _opcodes(value) + b"."


def _opcodes(value: Any) -> bytes:
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            raw = value.encode()
            return b"X" + struct.pack("<I", len(raw)) + raw
        case tuple():
            return b"(" + b"".join(map(_opcodes, value)) + b"t"
        case list():
            return b"](" + b"".join(map(_opcodes, value)) + b"e"
        case dict():
            return b"}(" + b"".join(_opcodes(part) for pair in value.items() for part in pair) + b"u"
        case Name(module, name):
            return b"c" + f"{module}\n{name}\n".encode()
        case Call(function, arguments):
            return _opcodes(function) + _opcodes(arguments) + b"R"
        case Stored(fields):
            return _opcodes(fields) + b"Q"
    raise TypeError(f"no opcodes for {value!r}")


def view(
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *,
    key: str = "0",
    elements: int,
    offset: int = 0,
    storage: Name = Name("torch", "FloatStorage"),
) -> Call:
    """How torch.save describes a tensor."""
    stored = Stored(("storage", storage, key, "cpu", elements))
    return Call(REBUILD, (stored, offset, shape, strides, False, Call(ORDERED_DICT, ())))


def torch_bytes(
    description: Any, storages: Mapping[str, bytes], *, compression: int = zipfile.ZIP_STORED, byteorder: str = "little"
) -> bytes:
    """A zip-form torch file; the description may be a value or a ready pickle."""
    raw = description if isinstance(description, bytes) else pickled(description)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("archive/data.pkl", raw)
        archive.writestr("archive/byteorder", byteorder)
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def write_torch(path: Path, state: Mapping[str, npt.NDArray[Any]]) -> Path:
    """What torch.save(state) writes, arrays that are the same object sharing one storage."""
    keys: dict[int, str] = {}
    storages: dict[str, bytes] = {}
    table = {}
    for name, array in state.items():
        key = keys.setdefault(id(array), str(len(keys)))
        storages[key] = array.tobytes()
        strides = tuple(stride // array.itemsize for stride in array.strides)
        kind = Name("torch", STORAGES[array.dtype.str])
        table[name] = view(array.shape, strides, key=key, elements=array.size, storage=kind)
    path.write_bytes(torch_bytes(table, storages))
    return path


def flat_state(
    *, seed: int = 0, vocab: int = 12, dims: int = 8, length: int = 6, layers: int = 2, inner: int = 16
) -> State:
    """A random flat mixer under upstream names."""
    generator = np.random.default_rng(seed)

    def draw(*shape: int) -> npt.NDArray[np.float32]:
        return generator.normal(0, 0.3, shape).astype(np.float32)

    state = {"wte.weight": draw(vocab, dims)}
    for layer in range(layers):
        block = f"mixerblocks.{layer}"
        for norm in ("seq_layernorm", "patch_layernorm"):
            state |= {f"{block}.{norm}.weight": 1 + draw(dims), f"{block}.{norm}.bias": draw(dims)}
        state |= {f"{block}.conv.weight": draw(length, length, 1), f"{block}.conv.bias": draw(length)}
        state |= {f"{block}.patch_ff.0.weight": draw(inner, dims), f"{block}.patch_ff.0.bias": draw(inner)}
        state |= {f"{block}.patch_ff.2.weight": draw(dims, inner), f"{block}.patch_ff.2.bias": draw(dims)}
    return state | {"lm_head.weight": draw(vocab, dims)}


def renamed(state: Mapping[str, npt.NDArray[Any]], old: str, new: str) -> dict[str, npt.NDArray[Any]]:
    return {name.replace(old, new): array for name, array in state.items()}
