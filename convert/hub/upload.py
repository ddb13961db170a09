"""A model folder, sent to the Hub by its own client, with a card.

Only the files of a model go: whatever else lies in the folder stays. Paths of this machine that a hint may hold are cut
to file names before the configuration leaves it.
"""

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from convert.foreign import parse_json
from convert.hub.errors import explained
from convert.hub.kinds import OUR_TYPES
from convert.hub.listing import CONFIG, SMALL_FILES
from convert.hub.model_card import model_card
from convert.hub.reference import Reference
from mlx_mixer.errors import ConversionError, HubError, MixerError, ModelNotFoundError, UnsupportedModelError
from mlx_mixer.foreign import quoted
from mlx_mixer.version import __version__

CARD = "README.md"
EVALUATION = "evaluation.json"
MAX_EVALUATION_BYTES = 1 << 20

Progress = Callable[[Mapping[str, Any]], None]


def upload_model(folder: Path, repo: str, *, is_public: bool, progress: Progress) -> dict[str, Any]:
    """Make a repository, if there is none, and put a model into it.

    A README.md that lies in the folder is kept; otherwise a card is written.

    Returns:
        {"repo", "url", "commit", "private"}.

    Raises:
        ModelNotFoundError: If the folder holds no model, or the token may not write there.
        HubError: If the repository is there and public without the user saying so, or the Hub does not take the files.
    """
    reference = Reference(repo)
    api = HfApi(library_name="mlx-mixer", library_version=__version__)
    with tempfile.TemporaryDirectory(prefix="mlx-mixer-upload-") as temporary:
        staged = Path(temporary)
        total = _stage(folder, staged, repo)
        progress({"stage": "upload", "file": folder.name, "done": 0, "total": total})
        with explained(reference, f"uploading to {repo}"):
            url = api.create_repo(repo, private=not is_public, exist_ok=True)
            private = bool(api.model_info(repo).private)
            if not private and not is_public:
                raise HubError(f"{repo} exists and is public; give --public to upload into it, or choose another name")
            commit = api.upload_folder(
                repo_id=repo, folder_path=staged, commit_message=f"Upload with mlx-mixer {__version__}"
            )
        progress({"stage": "upload", "file": folder.name, "done": total, "total": total})
    return {"repo": repo, "url": str(url), "commit": commit.oid, "private": private}


def card_of(folder: Path, repo: str) -> str:
    """Write the card of a model folder.

    Raises:
        ModelNotFoundError: If it holds no model.
        ConversionError: If its evaluation.json is damaged.
    """
    from mlx_mixer.checkpoint import load_config  # imports MLX

    config = load_config(folder)
    return model_card(
        repo,
        _shareable(config.to_dict()),
        parameters=config.num_parameters,
        weight_bytes=sum(file.stat().st_size for file in folder.glob("model*.safetensors")),
        has_tokenizer=(folder / "tokenizer.json").is_file(),
        evaluation=_evaluation(folder / EVALUATION),
    )


def _stage(folder: Path, staged: Path, repo: str) -> int:
    """Lay out what is sent, weights as links; return its size in bytes."""
    if not (folder / CONFIG).is_file():
        raise ModelNotFoundError(f"{folder} holds no {CONFIG}, so it is not a model folder")
    config = parse_json((folder / CONFIG).read_bytes(), CONFIG)
    model_type = config.get("model_type") if isinstance(config, dict) else None
    if model_type not in OUR_TYPES:
        raise UnsupportedModelError(
            f"{folder} holds a model of type {quoted(model_type)}; only models in mlx-mixer's own form are uploaded "
            f"with a card: send this one with: hf upload {repo} {folder}"
        )
    card = folder / CARD
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else card_of(folder, repo)
    for path in sorted(folder.iterdir()):
        is_weights = path.name.startswith("model") and path.name.endswith((".safetensors", ".safetensors.index.json"))
        if path.is_file() and (is_weights or (path.name in SMALL_FILES and path.name != CONFIG)):
            (staged / path.name).symlink_to(path.absolute())
    if not any(staged.glob("*.safetensors")):
        raise ModelNotFoundError(f"{folder} holds no weights")
    (staged / CONFIG).write_text(json.dumps(_shareable(config), indent=2) + "\n", encoding="utf-8")
    (staged / CARD).write_text(text, encoding="utf-8")
    return sum(path.stat().st_size for path in staged.iterdir())


def _shareable(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without paths of this machine."""
    shared = dict(config)
    provenance = shared.get("provenance")
    if isinstance(provenance, dict):
        hints = provenance.get("hints")
        shared["provenance"] = {
            **provenance,
            "source": _without_folders(provenance.get("source")),
            "hints": {name: _without_folders(value) for name, value in hints.items()} if hints else {},
        }
    return shared


def _without_folders(value: object) -> object:
    is_path = isinstance(value, str) and value.startswith(("/", "~", ".", "\\"))
    return Path(str(value)).name if is_path else value


def _evaluation(file: Path) -> Mapping[str, Any] | None:
    if not file.is_file():
        return None
    if file.stat().st_size > MAX_EVALUATION_BYTES:
        raise ConversionError(f"{file} is larger than {MAX_EVALUATION_BYTES:,} bytes")
    try:
        content = parse_json(file.read_bytes(), EVALUATION)
    except MixerError as error:
        raise ConversionError(f"{error}; write it with: mlx-mixer train evaluate --json > {EVALUATION}") from error
    return content if isinstance(content, dict) else None
