"""Reader of `.bin`, `.pt` and `.pth` files in the zip form that `torch.save` writes, without PyTorch.

Such a file holds `data.pkl`, which describes the tensors, and one uncompressed member per storage. The description is
read by `convert.sources.pickle_program`, which executes nothing; every view is checked against the storage it points
into.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Never, TypeGuard

import numpy as np

from convert.foreign import check_name, open_regular
from convert.sources.pickle_program import Global, PersistentId, PickleProgram, StoredTensor
from convert.sources.steady_file import check_steady, read_exactly, stamp_of
from convert.sources.stored_zip import data_begin, open_zip
from convert.sources.torch_lookalikes import refuse_archive, refuse_description
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

STORAGE_TYPES = {
    "torch.DoubleStorage": "F64",
    "torch.FloatStorage": "F32",
    "torch.HalfStorage": "F16",
    "torch.BFloat16Storage": "BF16",
    "torch.LongStorage": "I64",
    "torch.IntStorage": "I32",
    "torch.ShortStorage": "I16",
    "torch.CharStorage": "I8",
    "torch.ByteStorage": "U8",
    "torch.BoolStorage": "BOOL",
    "torch.ComplexFloatStorage": "C64",
    "torch.ComplexDoubleStorage": "C128",
}
# About 90 bytes describe a tensor, and Python reads some 2 MB of pickle a second.
MAX_DESCRIPTION_BYTES = 2 << 20
MAX_RANK = 8
# Tensors may share numbers, as tied ones do. Beyond this a small file would become a large model.
MAX_SHARING = 8


class _View(NamedTuple):
    """A tensor within one member: `span` stored numbers from `offset` on, of which it may be all or some."""

    member: str
    offset: int
    span: int
    strides: tuple[int, ...]
    info: TensorInfo


class TorchFile:
    """A checked zip-form torch file holding one flat table of tensors; see `convert.sources.weight_file.WeightFile`.

    Raises:
        ModelNotFoundError: If there is no such file.
        ConversionError: If it is not such a file, is damaged, or holds anything but tensors.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metadata: dict[str, str] = {}
        self._file = open_regular(path)
        self._stamp = stamp_of(self._file)
        try:
            self._zip, self._members = open_zip(self._file, path)
            table = self._read_description()
            self._views = {name: self._view(name, value) for name, value in table.items()}
            self._refuse_amplification()
        except BaseException:
            self._file.close()
            raise
        self.tensors = {name: view.info for name, view in self._views.items()}

    def read(self, name: str) -> Float32Array:
        """Read one floating-point tensor as float32."""
        view = self._views[name]
        if view.info.dtype not in FLOAT_BYTES:
            raise ConversionError(f"{quoted(name)} in {self.path.name} has type {view.info.dtype}, not floating point")
        numbers = float32_from_bytes(self._numbers(view), view.info.dtype)
        check_steady(self._file, self._stamp, self.path)
        strides = tuple(4 * stride for stride in view.strides)
        window = np.lib.stride_tricks.as_strided(numbers, view.info.shape, strides, writeable=False)
        return np.ascontiguousarray(window).reshape(view.info.shape)

    def pieces(self, name: str, unit: int = 1) -> Iterator[Float32Array]:
        """The numbers of a floating-point tensor in order, some at a time if they lie in that order in one member."""
        view = self._views[name]
        size = piece_size(unit)
        if self._is_whole_member(view):
            yield from self._pieces_of_member(view, size)
            check_steady(self._file, self._stamp, self.path)
            return
        numbers = self.read(name).reshape(-1)
        for start in range(0, len(numbers), size):
            yield numbers[start : start + size]

    def are_same(self, name: str, other: str) -> bool:
        """Whether two tensors are one: the same view of the same numbers."""
        return self._views[name] == self._views[other]

    def sha256(self) -> str:
        """Hex digest of the whole file."""
        return file_sha256(self._file)

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._file.close()

    def _is_whole_member(self, view: _View) -> bool:
        """Whether a tensor is all numbers of its member, in their order."""
        expected, strides = 1, []
        for size in reversed(view.info.shape):
            strides.append(expected)
            expected *= size
        is_in_order = all(
            size == 1 or stride == wanted
            for size, stride, wanted in zip(view.info.shape, view.strides, reversed(strides), strict=True)
        )
        nbytes = view.info.size * FLOAT_BYTES.get(view.info.dtype, 0)
        return is_in_order and nbytes == self._members[view.member].file_size

    def _pieces_of_member(self, view: _View, size: int) -> Iterator[Float32Array]:
        try:
            with self._zip.open(self._members[view.member]) as member:
                # Its checksum is compared when the last byte has been read.
                while raw := member.read(size * FLOAT_BYTES[view.info.dtype]):
                    yield float32_from_bytes(raw, view.info.dtype)
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
            raise ConversionError(f"{self.path.name} is damaged: {error}") from error

    def _member(self, name: str) -> bytes:
        try:
            return self._zip.read(self._members[name])
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
            raise ConversionError(f"{self.path.name} is damaged: {quoted(str(error))}") from error

    def _numbers(self, view: _View) -> bytes:
        """The stored numbers that a view spans, and no others: many views may share one large member."""
        width = FLOAT_BYTES[view.info.dtype]
        member = self._members[view.member]
        if view.span * width == member.file_size:
            return self._member(view.member)
        begin = data_begin(self._file, member, self.path) + view.offset * width
        return read_exactly(self._file, begin, view.span * width, self.path)

    def _refuse_amplification(self) -> None:
        spanned = sum(view.span for view in self._views.values())
        stored = sum(
            self._members[member].file_size // FLOAT_BYTES.get(dtype, 1)
            for member, dtype in {(view.member, view.info.dtype) for view in self._views.values()}
        )
        if spanned > MAX_SHARING * stored:
            self._refuse(f"makes {spanned:,} numbers of the {stored:,} that it stores; at most {MAX_SHARING} times")

    def _read_description(self) -> dict[str, object]:
        if self._members.get("byteorder") is not None and self._member("byteorder").strip() != b"little":
            raise ConversionError(f"{self.path.name} was written on a big-endian machine; save it again on another")
        refuse_archive(self._members, self.path.name)
        description = self._members.get("data.pkl")
        if description is None:
            self._refuse("is a zip archive, but not one that torch.save wrote")
        if description.file_size > MAX_DESCRIPTION_BYTES:
            self._refuse(f"describes its tensors in {description.file_size:,} bytes; at most {MAX_DESCRIPTION_BYTES:,}")
        value = PickleProgram(self._member("data.pkl"), self.path.name).run()
        refuse_description(value, self.path.name)
        if not isinstance(value, dict) or not value:
            self._refuse("holds no table of tensors")
        for name, entry in value.items():
            if not isinstance(name, str) or not isinstance(entry, StoredTensor):
                self._refuse(
                    f"holds {quoted(name)}, which is no tensor; save model.state_dict() alone and convert that file"
                )
        return value

    def _view(self, name: str, tensor: object) -> _View:
        assert isinstance(tensor, StoredTensor)
        check_name(name, self.path)
        where = f"{quoted(name)} in {self.path.name}"
        dtype, member, elements = self._storage(tensor.storage, where)
        shape, strides, offset = tensor.shape, tensor.strides, tensor.offset
        if not (_are_sizes(shape) and _are_sizes(strides) and len(shape) == len(strides) and _is_size(offset)):
            raise ConversionError(f"{where} has an impossible shape {quoted(shape)}")
        info = TensorInfo(dtype, shape)
        span = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) + 1 if info.size else 0
        # A view may reorder its storage but not repeat it, so memory stays bounded by the file.
        if info.size > elements or (info.size and offset + span > elements):
            raise ConversionError(f"{where}: shape {quoted(shape)} reaches beyond its {elements:,} stored numbers")
        return _View(member, offset if info.size else 0, span, strides, info)

    def _storage(self, storage: object, where: str) -> tuple[str, str, int]:
        match storage:
            case PersistentId(fields=("storage", Global() as kind, str() as key, str(), int() as elements)):
                dtype = STORAGE_TYPES.get(str(kind))
            case _:
                raise ConversionError(f"{where} does not point to a storage")
        if dtype is None:
            raise ConversionError(f"{where} is stored as {quoted(str(kind))}, which is not supported")
        member = self._members.get(f"data/{key}")
        if member is None:
            raise ConversionError(f"{where} points to a storage that is missing")
        bytes_each = FLOAT_BYTES.get(dtype)
        if bytes_each is not None and member.file_size != elements * bytes_each:
            raise ConversionError(
                f"{where}: its storage has {member.file_size:,} bytes, not {elements:,} x {bytes_each}"
            )
        return dtype, f"data/{key}", elements

    def _refuse(self, why: str) -> Never:
        raise ConversionError(f"{self.path.name} {why}")


def _are_sizes(values: object) -> TypeGuard[tuple[int, ...]]:
    return isinstance(values, tuple) and len(values) <= MAX_RANK and all(map(_is_size, values))


def _is_size(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 2**48
