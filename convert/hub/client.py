"""Every request to the Hub: the real client, with limits on what it takes in.

Runs in the child process only (`convert.hub.child`). The Hub's client reads its environment when it is imported.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import (
    HfApi,
    ModelInfo,
    constants,
    get_hf_file_metadata,
    get_session,
    hf_hub_url,
    set_client_factory,
)
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from convert.hub.errors import explained
from convert.hub.listing import MAX_FILES, Listing, RemoteFile, checked_file
from convert.hub.reference import Reference, is_commit
from mlx_mixer.errors import HubError, UsageError
from mlx_mixer.foreign import quoted
from mlx_mixer.version import __version__

MAX_ANSWER_BYTES = 64 << 20
ANSWER_SECONDS = 20
UPLOAD_SECONDS = 120
"""The Hub thinks before it answers a commit; whoever waits for a search or a look is given up earlier by the parent."""
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
_SEARCH_FIELDS: list[Any] = ["downloads", "gated", "likes", "config", "safetensors", "tags", "lastModified"]
_LIBRARY = "mlx-mixer"


def prepare() -> None:
    """Set the client up.

    Raises:
        UsageError: If `HF_ENDPOINT` would send the token over an open line.
    """
    endpoint = urlsplit(constants.ENDPOINT)
    if endpoint.scheme != "https" and endpoint.hostname not in _LOCAL_HOSTS:
        raise UsageError(f"HF_ENDPOINT is {quoted(constants.ENDPOINT)}; it must begin with https://")
    # The client's own hook on requests is what heeds HF_HUB_OFFLINE.
    hooks = {"request": list(get_session().event_hooks["request"]), "response": [_limit_answer]}
    set_client_factory(lambda: httpx2.Client(event_hooks=hooks, follow_redirects=True, timeout=UPLOAD_SECONDS))


def list_repository(reference: Reference) -> Listing:
    """Look a repository up at one commit.

    Raises:
        ModelNotFoundError: If it is absent, or the Hub cannot be reached.
        HubError: If the answer is not to be trusted.
    """
    with explained(reference, f"looking up {reference}"):
        info = _api().model_info(
            reference.repo, revision=reference.revision, files_metadata=True, timeout=ANSWER_SECONDS
        )
        return _listing(info, reference)


def search(query: str, limit: int) -> list[dict[str, Any]]:
    """Find repositories whose name holds the words of a query, those downloaded most first."""
    with explained(None, "searching"):
        found = _api().list_models(search=query, sort="downloads", limit=limit, expand=_SEARCH_FIELDS)
        return [_search_row(info) for info in found]


def check_head(reference: Reference, commit: str, file: RemoteFile) -> None:
    """Ask for a file's headers and compare them with the listing.

    Raises:
        ModelNotFoundError: If it may not be fetched.
        HubError: If commit, hash or size differ.
    """
    with explained(reference, f"asking for {file.name}"):
        url = hf_hub_url(reference.repo, file.name, revision=commit)
        found = get_hf_file_metadata(url, timeout=ANSWER_SECONDS, library_name=_LIBRARY)
    where = f"{file.name} of {reference.repo}"
    if found.commit_hash is None:
        raise HubError(
            f"the answer about {where} did not come from the Hub; a login page of this network may be in the way"
        )
    if found.commit_hash != commit:
        raise HubError(f"the Hub offers {where} from commit {quoted(found.commit_hash)}; {commit} was asked for")
    if found.etag != file.digest:
        raise HubError(f"the Hub gives {quoted(found.etag)} as the hash of {where} and listed {file.digest}; try again")
    if found.size is not None and found.size != file.size:
        raise HubError(f"the Hub gives {found.size:,} bytes as the size of {where} and listed {file.size:,}")


@contextmanager
def open_stream(reference: Reference, commit: str, name: str, start: int, end: int | None) -> Iterator[httpx2.Response]:
    """Open the content of a file from a byte on.

    Args:
        reference: The repository.
        commit: 40 hex digits.
        name: Path within it.
        start: First byte wanted.
        end: Last byte wanted; None for all of them.
    """
    headers = build_hf_headers(library_name=_LIBRARY, library_version=__version__) | {"Accept-Encoding": "identity"}
    if start or end is not None:
        headers["Range"] = f"bytes={start}-{'' if end is None else end}"
    url = hf_hub_url(reference.repo, name, revision=commit)
    # The client's own download starts over after an interruption; its session follows redirects and keeps the token
    # from other hosts.
    with get_session().stream("GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
        if response.status_code >= 400:
            response.read()
        hf_raise_for_status(response)
        if urlsplit(constants.ENDPOINT).scheme == "https" and response.url.scheme != "https":
            raise HubError(f"the Hub sends {name} over an open line; expected https")
        yield response


def is_offline() -> bool:
    """Whether the environment forbids the network."""
    return bool(constants.is_offline_mode())


def _api() -> HfApi:
    return HfApi(library_name=_LIBRARY, library_version=__version__)


def _listing(info: ModelInfo, reference: Reference) -> Listing:
    if not is_commit(info.sha):
        raise HubError(f"the Hub names {quoted(info.sha)} as the commit of {reference}; expected 40 hex digits")
    if is_commit(reference.revision) and info.sha != reference.revision:
        raise HubError(f"the Hub answers with commit {info.sha}; {reference.revision} was asked for")
    siblings = info.siblings or []
    if len(siblings) > MAX_FILES:
        raise HubError(f"{reference} lists {len(siblings):,} files; at most {MAX_FILES:,} are read")
    files = {}
    for sibling in siblings:
        large = sibling.lfs
        file = checked_file(
            sibling.rfilename,
            sibling.size if large is None else large.size,
            sibling.blob_id if large is None else large.sha256,
        )
        files[file.name] = file
    card = info.card_data
    license_name = getattr(card, "license", None)
    return Listing(
        repo=reference.repo,
        commit=str(info.sha),
        files=files,
        is_gated=bool(info.gated),
        license=license_name if isinstance(license_name, str) else None,
    )


def _search_row(info: ModelInfo) -> dict[str, Any]:
    config = info.config if isinstance(info.config, dict) else {}
    model_type = config.get("model_type")
    return {
        "repo": str(info.id),
        "model_type": model_type if isinstance(model_type, str) else None,
        "downloads": _count(info.downloads),
        "likes": _count(info.likes),
        "is_gated": bool(info.gated),
        "parameters": _count(info.safetensors.total) if info.safetensors else None,
        "updated": info.last_modified.date().isoformat() if info.last_modified else None,
        "tags": [tag for tag in info.tags or [] if isinstance(tag, str)][:64],
    }


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 62 else None


class _Limited(httpx2.SyncByteStream):
    """A body of which only so much is taken."""

    def __init__(self, stream: httpx2.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        taken = 0
        for chunk in self._stream:
            taken += len(chunk)
            if taken > MAX_ANSWER_BYTES:
                raise HubError(f"the Hub's answer does not end; {MAX_ANSWER_BYTES >> 20} MB of it were read")
            yield chunk

    def close(self) -> None:
        self._stream.close()


def _limit_answer(response: httpx2.Response) -> None:
    # Contents of files are bounded by the size that was declared for them; all else is read whole by the client.
    is_content = response.request.method == "GET" and response.is_success and "/api/" not in response.request.url.path
    if not is_content and isinstance(response.stream, httpx2.SyncByteStream):
        response.stream = _Limited(response.stream)
