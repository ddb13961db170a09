"""The weight files of a model folder: one `model.safetensors`, or shards and an index that says what is where."""

from pathlib import Path
from typing import Any

import mlx.core as mx

from mlx_mixer.errors import CheckpointError
from mlx_mixer.foreign import MAX_DESCRIPTION_BYTES, open_regular, quoted
from mlx_mixer.safetensors_header import MAX_DIMENSION, SafetensorsHeader, check_safetensors
from mlx_mixer.strict_json import parse_json

WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"


def read_weights(folder: Path) -> dict[str, mx.array]:
    """All arrays of a model folder by name, not yet evaluated.

    Raises:
        CheckpointError: If files are missing or damaged.
    """
    weights: dict[str, mx.array] = {}
    for file in weight_files(folder):
        weights.update(_load_arrays(file))
    return weights


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model folder's weights.

    Raises:
        CheckpointError: If there are none, or the index cannot be read or points outside the folder.
    """
    if (folder / WEIGHTS_NAME).is_file():
        return [folder / WEIGHTS_NAME]
    index = folder / INDEX_NAME
    if not index.is_file():
        raise CheckpointError(f"{folder} holds neither {WEIGHTS_NAME} nor {INDEX_NAME}")
    with open_regular(index) as file:
        raw = file.read(MAX_DESCRIPTION_BYTES + 1)
    if len(raw) > MAX_DESCRIPTION_BYTES:
        raise CheckpointError(f"{index} is larger than {MAX_DESCRIPTION_BYTES:,} bytes")
    content = parse_json(raw, str(index))
    listed = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(listed, dict) or not listed:
        raise CheckpointError(f"{index} holds no weight_map")
    for name in listed.values():
        if not _is_weight_name(name):
            raise CheckpointError(f"{index} names {quoted(name)}, which is not a .safetensors file beside it")
    names = set(listed.values())
    return [folder / name for name in sorted(names)]


def _is_weight_name(name: object) -> bool:
    return (
        isinstance(name, str)
        and Path(name).name == name
        and "\\" not in name
        and name.isprintable()
        and name.endswith(".safetensors")
    )


def _load_arrays(file: Path) -> dict[str, mx.array]:
    try:
        before = _identity(file)
        _check_shapes(check_safetensors(file))
        loaded: Any = mx.load(str(file))  # declared as one of several containers; a .safetensors file gives a dict
        is_steady = _identity(file) == before
    except (CheckpointError, OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    if not is_steady:
        raise CheckpointError(f"{file} changed while it was read; wait until nothing writes to it")
    return dict(loaded)


def _check_shapes(header: SafetensorsHeader) -> None:
    """Raise `CheckpointError` for a size that MLX would cut to its lower 32 bits."""
    for name, entry in header.entries.items():
        if max(entry.shape, default=0) > MAX_DIMENSION:
            raise CheckpointError(f"{quoted(name)} has an impossible shape {quoted(entry.shape)}")


def _identity(file: Path) -> tuple[int, ...]:
    """What tells whether the file that was checked is the file that MLX opened by its name afterwards."""
    status = file.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
