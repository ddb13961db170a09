"""Model folders as results of conversions and, written anew with other numbers, as their sources."""

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from convert.families.key_table import Assignment
from convert.families.transforms import unchanged
from convert.proof.rewrite import verify_rewrite
from convert.report import ConversionReport
from convert.room import require_disk, require_memory
from convert.sources.containers import Checkpoint, open_checkpoint
from convert.sources.storage import Storage
from convert.sources.weight_file import Float32Array
from convert.write_weights import Progress, WeightPlan, write_weights
from mlx_mixer.atomic import atomic_directory
from mlx_mixer.checkpoint import CONFIG_NAME, load_config, resolve_model, write_config_file
from mlx_mixer.config_fields import Provenance, Quantization
from mlx_mixer.errors import ConversionError, MixerError
from mlx_mixer.quantization import dequantize, stored_quantized
from mlx_mixer.word_tokenizer import WORDS_NAME

FAMILY = "mlx-mixer"
# Everything beside weights and config that belongs to a model.
KEPT_FILES = ("tokenizer*", "special_tokens_map.json", "vocab*", "merges.txt", WORDS_NAME, "LICENSE*", "NOTICE*")


@dataclass(frozen=True)
class Unpack:
    """The layout change of a quantised matrix: packed numbers, scales and offsets to ``(rows, columns)``.

    Attributes:
        quantization: How it was quantised.
    """

    quantization: Quantization

    def __call__(self, arrays: Sequence[npt.NDArray[Any]]) -> Float32Array:
        packed, scales, offsets = map(mx.array, arrays)
        return np.array(dequantize(packed, scales, offsets, self.quantization))


def find_model_folder(source: Path) -> Path | None:
    """The model folder of ours that a source is, or that it names; `None` if it is something else."""
    try:
        if source.exists():
            return source if is_model_folder(source) else None
        return resolve_model(source)
    except (MixerError, OSError):
        return None  # whoever looks at it as a checkpoint says what is wrong


def is_model_folder(source: Path) -> bool:
    """Whether a source is a model folder of ours that can be read."""
    if not (source / CONFIG_NAME).is_file():
        return False
    try:
        load_config(source)
    except MixerError:
        return False
    return True


@contextlib.contextmanager
def folder_for(out: Path) -> Iterator[Path]:
    """`mlx_mixer.atomic.atomic_directory`, with what goes wrong with the disk as a `ConversionError`."""
    try:
        with atomic_directory(out) as folder:
            yield folder
    except OSError as error:
        raise ConversionError(f"{out} cannot be written: {error.strerror or error}") from error


def rewrite_model_folder(
    source: Path, out: Path, storage: Storage, *, verify: bool, shard_bytes: int, progress: Progress | None
) -> ConversionReport:
    """Write a model folder with its weights stored in another way; tokenizer and provenance are kept.

    For arguments and errors see `convert.convert_checkpoint`.
    """
    started = time.perf_counter()
    before = load_config(source)
    plain = replace(before, quantization=None)
    config = storage.config(plain)
    with open_checkpoint(source) as checkpoint:
        assignments = _assignments(checkpoint, before.quantization)
        types = [info.dtype for info in checkpoint.tensors.values() if info.dtype != "U32"]
        weights = WeightPlan(config, storage.stored_dtype(types), assignments)
        require_disk(out, weights.nbytes)
        if verify:
            require_memory(weights.parameters)
        with folder_for(out) as folder:
            for file in (path for pattern in KEPT_FILES for path in source.glob(pattern) if path.is_file()):
                shutil.copyfile(file, folder / file.name)
            written = write_weights(folder, checkpoint, weights, max_shard_bytes=shard_bytes, progress=progress)
            if config.provenance is None:
                origin = Provenance(source=source.name, family=FAMILY, sha256=written.digests)
                config = replace(config, provenance=origin)
            write_config_file(folder, config)
            verification = verify_rewrite(source, folder) if verify else None
    return ConversionReport(
        family=FAMILY,
        config=config,
        out=out,
        parameters=written.parameters,
        files=tuple(file.path for file in checkpoint.files),
        source_bytes=sum(file.path.stat().st_size for file in checkpoint.files),
        bytes=written.nbytes,
        verification=verification,
        warnings=_warnings(before.quantization, storage),
        seconds=time.perf_counter() - started,
    )


def _assignments(checkpoint: Checkpoint, quantization: Quantization | None) -> list[Assignment]:
    names = checkpoint.tensors
    quantised = stored_quantized(names) if quantization is not None else frozenset()
    parts = {f"{path}.{part}" for path in quantised for part in ("weight", "scales", "biases")}
    assignments = [Assignment(name, (name,), unchanged) for name in names if name not in parts]
    if quantization is not None:
        unpack = Unpack(quantization)
        for path in sorted(quantised):
            stored = tuple(f"{path}.{part}" for part in ("weight", "scales", "biases"))
            assignments.append(Assignment(stored[0], stored, unpack))
    return assignments


def _warnings(before: Quantization | None, storage: Storage) -> tuple[str, ...]:
    if before is None or storage.bits is None:
        return ()
    return (f"the model was quantised to {before.bits} bits already; converting its original again is more exact",)
