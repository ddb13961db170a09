"""Models on the Hugging Face Hub: search, look before fetching, fetch with resume, install, upload.

Every function that needs the network runs its part in a child process, which holds the Hub's own client; see
`convert.hub.child`. The environment decides as it does for that client: `HF_TOKEN`, `HF_HUB_OFFLINE`, `HF_ENDPOINT`,
`HF_HOME`, `HF_HUB_CACHE`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.hub.cache import cache_folder
from convert.hub.outlook import Outlook
from convert.hub.process import HubTask, Report
from convert.hub.reference import Reference, looks_like_reference, parse_reference
from mlx_mixer.paths import default_paths

LOOK_SECONDS = 90
SEARCH_SECONDS = 60
SEARCH_LIMIT = 20


@dataclass(frozen=True)
class Fetched:
    """A repository that is here.

    Attributes:
        path: Folder of its snapshot in the Hugging Face cache.
        commit: 40 hex digits.
        kind: See `convert.hub.kinds.Contents`.
        words: What it is, for people.
        notes: What the user should know.
    """

    path: Path
    commit: str
    kind: str
    words: str
    notes: tuple[str, ...]


def is_repository(source: str | Path) -> bool:
    """Whether a source names a repository: it has the form `owner/name[@revision]`, and no such path exists."""
    return looks_like_reference(str(source)) and not Path(source).expanduser().exists()


def search_models(query: str, *, limit: int = SEARCH_LIMIT) -> list[dict[str, Any]]:
    """Find repositories by the words of their names, those downloaded most first.

    Returns:
        A table for each with "repo", "model_type", "downloads", "likes", "is_gated", "parameters", "updated", "tags".

    Raises:
        ModelNotFoundError: If the Hub cannot be reached.
        HubError: If it does not answer as it should.
    """
    rows: list[dict[str, Any]] = search_task(query, limit=limit).wait(timeout_seconds=SEARCH_SECONDS)
    return rows


def search_task(query: str, *, limit: int = SEARCH_LIMIT) -> HubTask:
    """Return the task whose result is that of `search_models`."""
    return HubTask({"task": "search", "query": query, "limit": limit})


def look_at(source: str | Reference, *, models: Path | None = None) -> Outlook:
    """Say what a repository is and whether it fits and works, before its weights are fetched.

    Raises:
        ModelNotFoundError: If it is absent, or the Hub cannot be reached.
        ConversionError: If it holds no weights.
        HubError: If the answers are not to be trusted.
    """
    values: dict[str, Any] = look_task(source, models=models).wait(timeout_seconds=LOOK_SECONDS)
    return Outlook.from_dict(values)


def look_task(source: str | Reference, *, models: Path | None = None) -> HubTask:
    """Return the task whose result is the dictionary of an `Outlook`."""
    return HubTask(_request("look", source, models))


def fetch_repository(source: str | Reference, report: Report | None = None, *, force: bool = False) -> Fetched:
    """Fetch what a model needs of a repository into the Hugging Face cache, going on from where an earlier try ended.

    Without a network, a copy that is in the cache is checked and used.

    Args:
        source: `owner/name` or `owner/name@revision`.
        report: Called with {"stage", "file", "done", "total"} as it goes on.
        force: Fetch even if it does not fit into memory or on the disk.

    Raises:
        ModelNotFoundError: If it is absent, or needs consent, or can be had neither from the Hub nor from the cache.
        UnsupportedModelError: If it is of a kind that does not run here.
        ResourceError: If it does not fit.
        HubError: If what arrives is not what was listed.
    """
    done = HubTask({**_request("fetch", source, None), "force": force}).wait(report)
    return Fetched(Path(done["path"]), done["commit"], done["kind"], done["words"], tuple(done["notes"]))


def install_task(
    source: str | Reference,
    *,
    models: Path | None = None,
    name: str | None = None,
    force: bool = False,
    hints: Mapping[str, Any] | None = None,
) -> HubTask:
    """Return the task that fetches a repository and makes a model of it below the models folder.

    Its result is {"path", "kind", "note", "warnings", "commit", "notes"}.
    """
    return HubTask({**_request("install", source, models), "name": name, "force": force, "hints": dict(hints or {})})


def upload_folder(folder: Path, repo: str, *, is_public: bool = False, report: Report | None = None) -> dict[str, Any]:
    """Upload a model folder with a generated card; the repository is made, private unless told otherwise.

    Returns:
        {"repo", "url", "commit", "private"}.

    Raises:
        UsageError: If `repo` has not the form `owner/name`.
        ModelNotFoundError: If the folder holds no model, or the token may not write there.
        HubError: If the Hub does not take it.
    """
    reference = parse_reference(repo)
    task = HubTask({"task": "upload", "folder": str(folder.absolute()), "repo": reference.repo, "public": is_public})
    result: dict[str, Any] = task.wait(report)
    return result


def _request(task: str, source: str | Reference, models: Path | None) -> dict[str, Any]:
    reference = source if isinstance(source, Reference) else parse_reference(source)
    return {
        "task": task,
        "repo": reference.repo,
        "revision": reference.revision,
        "cache": str(cache_folder(os.environ)),
        "models": str(models or default_paths().models),
    }
