"""From source tensors to the weights of a model folder in one pass over the source, holding one parameter at a time.

What needs no change of layout is checked, rounded and written piece by piece. Only parameters that do need one are
held whole: mixing matrices and head projections, never token tables.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import mlx.core as mx
import numpy as np
import numpy.typing as npt
from mlx.utils import tree_flatten

from convert.families.key_table import Assignment
from convert.families.transforms import unchanged
from convert.sources.containers import Checkpoint
from convert.sources.file_stream import FileStream, Piece
from convert.sources.weight_file import FLOAT_BYTES, TensorInfo
from convert.targets import PlainTarget, QuantisedTarget, Target, finite_numbers
from convert.writer import MAX_SHARD_BYTES, TensorSpec, WeightWriter
from mlx_mixer.errors import ConversionError
from mlx_mixer.model_configs.kinds import ModelConfig
from mlx_mixer.models.kinds import make_model
from mlx_mixer.quantization import is_never_rounded, quantized_matrices

# Told how many source bytes are done, and how many there are.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        parameters: Number of trainable values.
        digests: SHA-256 of every source file, by file name.
        nbytes: Size of the weight files.
    """

    parameters: int
    digests: dict[str, str]
    nbytes: int


class WeightPlan:
    """Which tensors a model folder will hold, before anything is read.

    Args:
        config: The model; its `quantization` says how matrices are stored.
        dtype: Type of all other weights, and of scales: "F32", "F16" or "BF16".
        assignments: Where every parameter comes from.

    Raises:
        ConversionError: If the assignments are not exactly the model's parameters.
    """

    def __init__(self, config: ModelConfig, dtype: str, assignments: Sequence[Assignment]) -> None:
        shapes = parameter_shapes(config)
        if shapes.keys() != {entry.target for entry in assignments}:
            odd = sorted(shapes.keys() ^ {entry.target for entry in assignments})
            raise ConversionError(f"the weights do not fit the config: {', '.join(odd[:3])} is on one side only")
        matrices: frozenset[str] = frozenset()
        if config.quantization is not None:
            matrices = quantized_matrices(make_model(replace(config, quantization=None)), config.quantization)
        self.parameters = sum(math.prod(shape) for shape in shapes.values())
        self.assignments = tuple(assignments)
        self.targets: dict[str, Target] = {}
        for name, shape in shapes.items():
            if config.quantization is not None and name.removesuffix(".weight") in matrices:
                self.targets[name] = QuantisedTarget(name, shape, dtype, config.quantization)
            else:
                self.targets[name] = PlainTarget(name, shape, "F32" if is_never_rounded(name) else dtype)
        self.shapes = shapes

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors."""
        return sum(spec.nbytes for target in self.targets.values() for spec in target.specs)


def parameter_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter; nothing is allocated, because MLX computes initial values when they are asked for."""
    parameters: list[tuple[str, mx.array]] = tree_flatten(make_model(config).parameters())  # type: ignore[assignment]
    return {name: array.shape for name, array in parameters}


def write_weights(
    folder: Path,
    checkpoint: Checkpoint,
    plan: WeightPlan,
    *,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    progress: Progress | None = None,
) -> Written:
    """Write the weight files of a model folder.

    Args:
        folder: An existing folder.
        checkpoint: The open source.
        plan: What is to be written.
        max_shard_bytes: Data of one file.
        progress: Called after every piece.

    Raises:
        ConversionError: If the source is damaged, changes, or holds numbers that are not finite.
        OSError: If the files cannot be written.
    """
    sinks: dict[str, _Sink] = {}
    for entry in plan.assignments:
        target, shape = plan.targets[entry.target], plan.shapes[entry.target]
        infos = {name: checkpoint.tensors[name] for name in entry.stored}
        is_through = entry.transform is unchanged and infos[entry.stored[0]].shape == shape
        sink: _Sink = _Through(target) if is_through else _Gather(entry, target, shape, infos)
        sinks.update(dict.fromkeys(entry.stored, sink))
    done, total = 0, sum(_nbytes(checkpoint.tensors[name]) for name in sinks)
    digests = {}
    with WeightWriter(folder, _in_source_order(checkpoint, plan), max_shard_bytes) as writer:
        for file in checkpoint.files:
            plain = checkpoint.plain_names_in(file)
            units = {stored: sinks[name].unit for stored, name in plain.items() if name in sinks}
            stream = FileStream(file, units)
            for piece in stream:
                name = plain[piece.name]
                sinks[name].take(writer, name, piece)
                done += _nbytes(TensorInfo(checkpoint.tensors[name].dtype, (_count(piece),)))
                if progress is not None:
                    progress(done, total)
            digests[file.path.name] = stream.digest
        writer.finish()
    return Written(plan.parameters, digests, sum(file.stat().st_size for file in writer.files))


class _Sink(Protocol):
    """What becomes of the pieces of a stored tensor."""

    @property
    def unit(self) -> int:
        """How many numbers must come together."""
        ...

    def take(self, writer: WeightWriter, name: str, piece: Piece) -> None: ...


class _Through:
    """Numbers that keep their order go on at once."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.unit = target.unit

    def take(self, writer: WeightWriter, name: str, piece: Piece) -> None:
        self._target.put_stored(writer, piece.offset, piece.data, piece.dtype, name)


class _Gather:
    """Numbers that change their order wait until all of them are there."""

    unit = 1

    def __init__(
        self, entry: Assignment, target: Target, shape: tuple[int, ...], infos: Mapping[str, TensorInfo]
    ) -> None:
        self._entry = entry
        self._target = target
        self._shape = shape
        self._infos = infos
        self._arrays: dict[str, npt.NDArray[Any]] = {}
        self._missing = sum(info.size for info in infos.values())

    def take(self, writer: WeightWriter, name: str, piece: Piece) -> None:
        is_float = piece.dtype in FLOAT_BYTES
        if name not in self._arrays:
            self._arrays[name] = np.empty(self._infos[name].shape, np.float32 if is_float else np.uint32)
        numbers = finite_numbers(piece.data, piece.dtype, name) if is_float else np.frombuffer(piece.data, "<u4")
        self._arrays[name].reshape(-1)[piece.offset : piece.offset + len(numbers)] = numbers
        self._missing -= len(numbers)
        if self._missing == 0:
            self._release(writer)

    def _release(self, writer: WeightWriter) -> None:
        arrays = [self._arrays[name] for name in self._entry.stored]
        self._arrays.clear()
        result = self._entry.transform(arrays)
        if result.shape != self._shape:
            raise ConversionError(f"{self._entry.target} has shape {result.shape}, not {self._shape}")
        self._target.put(writer, 0, np.ascontiguousarray(result).reshape(-1))


def _in_source_order(checkpoint: Checkpoint, plan: WeightPlan) -> list[TensorSpec]:
    """The tensors to write, in the order in which the first of their sources is read, so that files grow one by one."""
    homes = {name: entry.target for entry in plan.assignments for name in entry.stored}
    order: dict[str, None] = {}
    for file in checkpoint.files:
        plain = checkpoint.plain_names_in(file)
        for stored in file.tensors:
            if plain[stored] in homes:
                order[homes[plain[stored]]] = None
    return [spec for target in order for spec in plan.targets[target].specs]


def _nbytes(info: TensorInfo) -> int:
    return info.size * FLOAT_BYTES.get(info.dtype, 4)


def _count(piece: Piece) -> int:
    return len(piece.data) // FLOAT_BYTES.get(piece.dtype, 4)
