"""From a fetched snapshot to something that the app opens: converted, copied, or left where mlx-lm finds it."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.hub.kinds import Contents
from convert.hub.listing import CONFIG, SMALL_FILES
from convert.hub.reference import Reference
from mlx_mixer.atomic import atomic_directory
from mlx_mixer.errors import ConversionError, MixerError, UnsupportedModelError, UsageError

Convert = Callable[..., Any]  # convert.convert_checkpoint, which imports MLX when it is needed


@dataclass(frozen=True)
class Installed:
    """Where a model ended up.

    Attributes:
        path: Its folder.
        kind: What the repository held.
        note: What a user should know; empty if nothing.
        warnings: Of the conversion.
    """

    path: Path
    kind: str
    note: str = ""
    warnings: tuple[str, ...] = ()


def model_path(reference: Reference, models: Path, name: str | None) -> Path:
    """Where a model of a repository goes below the models folder.

    Raises:
        UsageError: If the name is no plain folder name.
    """
    if name is not None and (not name or Path(name).name != name or name.startswith(".") or not name.isprintable()):
        raise UsageError(f"{name!r} cannot be the name of a model; give a plain name without slashes")
    return models / (name or reference.name)


def install(
    snapshot: Path, reference: Reference, commit: str, contents: Contents, out: Path, **hints: Any
) -> Installed:
    """Make a model folder of a snapshot, or say that none is needed.

    Raises:
        UnsupportedModelError: If it is of a kind that does not run.
        ConversionError: If it cannot be converted.
        UsageError: If there is another model of this name.
    """
    if contents.kind == "unsupported":
        raise UnsupportedModelError(f"{reference} is {contents.words}")
    if contents.kind == "transformer":
        return Installed(
            snapshot, contents.kind, "mlx-lm runs it from the Hugging Face cache, so nothing was converted"
        )
    if (out / CONFIG).is_file():
        if _came_from(out, reference, commit):
            return Installed(out, contents.kind, "it was here already")
        raise UsageError(f"{out} is another model; choose another name, or: mlx-mixer models rm {out.name}")
    if contents.kind == "mlx-mixer model":
        _copy(snapshot, out)
        return Installed(out, contents.kind)
    from convert.convert import convert_checkpoint  # imports MLX

    report = convert_checkpoint(snapshot, out, **hints)
    return Installed(out, contents.kind, warnings=tuple(report.warnings))


def _came_from(out: Path, reference: Reference, commit: str) -> bool:
    from mlx_mixer.checkpoint import load_config  # imports MLX

    try:
        provenance = load_config(out).provenance
    except MixerError:
        return False
    return provenance is not None and provenance.source == reference.repo and provenance.revision == commit


def _copy(snapshot: Path, out: Path) -> None:
    """Copy a model that is in our own form already, and load it once before it appears."""
    from mlx_mixer.checkpoint import load_model  # imports MLX

    names = [path.name for path in snapshot.iterdir() if path.name in SMALL_FILES or _is_weights(path.name)]
    try:
        with atomic_directory(out) as folder:
            for name in names:
                shutil.copyfile(snapshot / name, folder / name)  # follows the cache's links
            load_model(folder)
    except OSError as error:
        raise ConversionError(f"{out} cannot be written: {error.strerror or error}") from error


def _is_weights(name: str) -> bool:
    return name.startswith("model") and name.endswith((".safetensors", ".safetensors.index.json"))


def installed_dict(installed: Installed) -> Mapping[str, Any]:
    """Plain JSON values."""
    return {
        "path": str(installed.path),
        "kind": installed.kind,
        "note": installed.note,
        "warnings": list(installed.warnings),
    }
