"""Model folders on this computer, described without loading them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from mlx_mixer.errors import ModelNotFoundError

MAX_CONFIG_BYTES = 1_000_000


@dataclass(frozen=True)
class ModelFolder:
    """What a model's folder says about it.

    Attributes:
        path: The folder; None is the bundled model.
        name: What people call it.
        family: Kind of model, for example "masked mixer, flat".
        size_bytes: Size of its weights.
        context_length: Longest text it sees in tokens; None if the folder does not say.
    """

    path: Path | None
    name: str
    family: str
    size_bytes: int
    context_length: int | None


def bundled_folder() -> Path:
    """Folder of the bundled model; `mlx_mixer.checkpoint` knows it too, but importing that loads MLX."""
    return Path(str(files("mlx_mixer") / "default_model" / "checkpoint"))


def list_models(models: Path) -> list[ModelFolder]:
    """Return the bundled model and those below `models`, by name; folders that hold no model are left out."""
    return [*_described([None]), *_described(sorted(models.glob("*")))]


def describe_model(path: Path | None) -> ModelFolder:
    """Describe one folder.

    Raises:
        ModelNotFoundError: If it holds no model; the message is one line.
    """
    folder = bundled_folder() if path is None else path
    file = folder / "config.json"
    if not folder.is_dir():
        raise ModelNotFoundError(f"{folder} is not a folder")
    if not file.is_file():
        raise ModelNotFoundError(f"{folder} holds no config.json, so it is not a model folder")
    try:
        with file.open("rb") as stream:
            config = json.loads(stream.read(MAX_CONFIG_BYTES))
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(f"{file} cannot be read: {type(error).__name__}") from error
    if not isinstance(config, dict):
        raise ModelNotFoundError(f"{file} does not describe a model")
    return ModelFolder(
        path=path,
        name=model_name(path),
        family=_family(config),
        size_bytes=sum(weights.stat().st_size for weights in folder.glob("*.safetensors")),
        context_length=_context_length(config),
    )


def model_name(path: Path | None) -> str:
    """Return what people call the model in a folder."""
    return "Bundled model" if path is None else path.name


def size_text(size_bytes: int) -> str:
    """Return a size for people: "12 MB", "1.4 GB"."""
    if size_bytes >= 1_000_000_000:
        return f"{size_bytes / 1e9:.1f} GB"
    return f"{size_bytes / 1e6:.0f} MB" if size_bytes >= 1_000_000 else f"{max(1, size_bytes // 1000)} kB"


def _described(paths: Iterable[Path | None]) -> Iterable[ModelFolder]:
    for path in paths:
        try:
            yield describe_model(path)
        except (ModelNotFoundError, OSError):
            continue


def _family(config: dict[str, object]) -> str:
    kind = config.get("model_type")
    if kind == "language_mixer":
        return f"masked mixer, {config.get('token_mixing', 'flat')}"
    return str(kind) if kind else "unknown kind"


def _context_length(config: dict[str, object]) -> int | None:
    length = config.get("context_length", config.get("max_position_embeddings"))
    return length if isinstance(length, int) else None
