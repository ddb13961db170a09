"""The weight files of a model folder: one `model.safetensors`, or shards and an index that says what is where."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx

from mlx_mixer.errors import CheckpointError
from mlx_mixer.safetensors_header import check_safetensors

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
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{index} cannot be read: {error!r}") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise CheckpointError(f"{index} names {name!r}, which is not a .safetensors file beside it")
    return [folder / name for name in sorted(names)]


def _load_arrays(file: Path) -> dict[str, mx.array]:
    try:
        check_safetensors(file)
        loaded: Any = mx.load(str(file))  # declared as one of several containers; a .safetensors file gives a dict
    except (CheckpointError, OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    return dict(loaded)
