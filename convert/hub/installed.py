"""Models that are on this machine because they were installed: below the models folder, or in the Hub's cache."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.foreign import open_regular, parse_json
from convert.hub.cache import RepositoryCache
from convert.hub.kinds import file_tensors, mlx_lm_runs, tell_contents
from convert.hub.listing import CONFIG, select_files, total_bytes, with_shards
from convert.hub.reference import Reference, looks_like_reference
from mlx_mixer.errors import MixerError, ModelNotFoundError
from mlx_mixer.foreign import quoted

MAX_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True)
class CachedTransformer:
    """A transformer in the Hub's cache that mlx-lm runs from there.

    Attributes:
        repo: `owner/name`.
        commit: Of the snapshot.
        path: Folder of the snapshot.
        model_type: As its config.json says.
        bytes: Size of its weights.
    """

    repo: str
    commit: str
    path: Path
    model_type: str
    bytes: int


def cached_transformers(cache: Path) -> list[CachedTransformer]:
    """List the transformers that are whole in the cache, by name; the newest snapshot of each."""
    return sorted(_transformers(cache), key=lambda found: found.repo)


def remove_model(models: Path, name: str) -> Path:
    """Remove a model from the models folder: it is gone at once, then its bytes are freed.

    Returns:
        The folder that it was.

    Raises:
        ModelNotFoundError: If there is no such model there; nothing outside the models folder is ever removed.
        MixerError: If it cannot be removed.
    """
    folder = removable_model(models, name)
    gone = models / f".{name}.{os.getpid()}.removed"
    try:
        if folder.is_symlink():
            folder.unlink()  # the folder it points to is someone else's
        else:
            folder.rename(gone)
            shutil.rmtree(gone)
    except OSError as error:
        raise MixerError(f"{folder} cannot be removed: {error.strerror or error}") from error
    return folder


def removable_model(models: Path, name: str) -> Path:
    """The folder that `remove_model` would remove.

    Raises:
        ModelNotFoundError: If there is no such model there.
    """
    folder = models / name
    if not name or Path(name).name != name or name.startswith(".") or not (folder / CONFIG).is_file():
        raise ModelNotFoundError(f"there is no model {quoted(name)} in {models}; see: mlx-mixer models list")
    return folder


def _transformers(cache: Path) -> Iterator[CachedTransformer]:
    for folder in cache.glob("models--*--*"):
        pieces = folder.name.split("--")
        repo = "/".join(pieces[1:])
        if len(pieces) != 3 or not looks_like_reference(repo):
            continue
        try:
            found = _described(Reference(repo), RepositoryCache(folder))
        except (MixerError, OSError):  # half a download, or files of another kind
            continue
        if found is not None:
            yield found


def _described(reference: Reference, kept: RepositoryCache) -> CachedTransformer | None:
    commit = kept.known_commit(reference) or _newest(kept)
    if commit is None:
        return None
    snapshot = kept.snapshot(commit)
    config = _config(snapshot / CONFIG)
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not mlx_lm_runs(model_type):
        return None
    files = kept.files(commit)
    selection = select_files(files)
    if selection.index is not None:
        selection = with_shards(selection, (snapshot / selection.index.name).read_bytes(), files)
    if any(not file.name.endswith(".safetensors") for file in selection.weights):
        return None  # mlx-lm reads no others
    tensors = file_tensors(snapshot / selection.weights[0].name, selection.weights[0].name)
    if tell_contents(config, tensors, reference.repo).kind != "transformer":
        return None
    return CachedTransformer(reference.repo, commit, snapshot, model_type, total_bytes(selection.weights))


def _newest(kept: RepositoryCache) -> str | None:
    snapshots = [path for path in (kept.folder / "snapshots").glob("*") if len(path.name) == 40]
    return max(snapshots, key=lambda path: path.stat().st_mtime).name if snapshots else None


def _config(file: Path) -> dict[str, Any]:
    with open_regular(file) as stream:
        config = parse_json(stream.read(MAX_CONFIG_BYTES), CONFIG)
    return config if isinstance(config, dict) else {}
