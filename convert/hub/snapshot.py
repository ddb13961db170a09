"""A repository, from its name to files in the cache: look it up, judge it, fetch what a model needs of it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.foreign import parse_json
from convert.hub.cache import RepositoryCache
from convert.hub.client import check_head, list_repository, open_stream
from convert.hub.download_file import fetch_file, has_digest
from convert.hub.errors import explained
from convert.hub.kinds import LENGTH_BYTES, Contents, file_tensors, header_tensors, tell_contents
from convert.hub.listing import CONFIG, Listing, RemoteFile, Selection, select_files, total_bytes, with_shards
from convert.hub.outlook import Outlook, Room, measure_room, obstacles_of_room, predict_sizes
from convert.hub.reference import Reference
from convert.sources.weight_file import TensorInfo
from mlx_mixer.errors import ConversionError, HubError, ModelNotFoundError
from mlx_mixer.foreign import MAX_DESCRIPTION_BYTES

MAX_SMALL_BYTES = 64 << 20
MAX_CONFIG_BYTES = 1 << 20
MAX_HEADERS = 32
REPORT_SECONDS = 0.1

Progress = Callable[[Mapping[str, Any]], None]
"""Called with {"stage", "file", "done", "total"}, sizes in bytes."""


@dataclass(frozen=True)
class Found:
    """A repository that was looked up.

    Attributes:
        reference: What was asked for.
        listing: At the commit that it stands for.
        selection: What a model needs of it.
        contents: What it holds.
        outlook: What would happen if it was fetched.
    """

    reference: Reference
    listing: Listing
    selection: Selection
    contents: Contents
    outlook: Outlook


def look_up(reference: Reference, cache: Path, models: Path) -> Found:
    """Look a repository up and judge it; of its files, only config.json, an index and headers of weights are read.

    Raises:
        ModelNotFoundError: If it is absent, gated and not accepted, or the Hub cannot be reached.
        ConversionError: If it holds no weights.
        HubError: If the answers are not to be trusted.
    """
    listing = list_repository(reference)
    kept = RepositoryCache.of(reference.repo, cache)
    selection = select_files(listing.files)
    room = measure_room(cache, models)
    try:
        selection = _complete(selection, listing, kept, reference)
        contents = _contents(selection, listing, kept, reference)
    except ModelNotFoundError as error:
        if not listing.is_gated:
            raise
        contents = Contents("unknown", None, "a gated repository, whose files are shown to those who accept", None)
        outlook = _outlook(listing, selection, contents, kept, room, (f"{error}.",))
        return Found(reference, listing, selection, contents, outlook)
    return Found(reference, listing, selection, contents, _outlook(listing, selection, contents, kept, room, ()))


def fetch(found: Found, cache: Path, progress: Progress) -> Path:
    """Fetch what a model needs; files that are here already are checked and kept.

    Returns:
        The folder of the snapshot.

    Raises:
        ModelNotFoundError: If the Hub cannot be reached.
        HubError: If what arrives is not what was listed.
        ResourceError: If the disk is full.
    """
    listing, selection = found.listing, found.selection
    kept = RepositoryCache.of(listing.repo, cache)
    # Weights last: a snapshot that shows them is complete.
    files = (*selection.small, *((selection.index,) if selection.index else ()), *selection.weights)
    total, done = total_bytes(files), 0
    for file in files:
        _fetch_into(
            kept, found.reference, listing.commit, file, _Reporter(progress, "download", file.name, done, total)
        )
        done += file.size
    kept.remember(found.reference, listing.commit)
    kept.drop_stale_parts({file.digest for file in listing.files.values()}, now=time.time())
    return kept.snapshot(listing.commit)


def find_offline(reference: Reference, cache: Path, progress: Progress) -> tuple[Path, str, Contents]:
    """Find a repository that was fetched before, and check that its files are still what they were.

    Returns:
        The folder of the snapshot, its commit, and what it holds.

    Raises:
        ModelNotFoundError: If it is not there, or not whole.
        HubError: If its files are damaged.
    """
    kept = RepositoryCache.of(reference.repo, cache)
    commit = kept.known_commit(reference)
    if commit is None:
        raise ModelNotFoundError(f"{reference} is not in the cache ({cache})")
    files = kept.files(commit)
    try:
        selection = select_files(files)
        if selection.index is not None:
            selection = with_shards(selection, _content(kept, selection.index), files)
    except ConversionError as error:
        raise ModelNotFoundError(f"{reference} is not whole in the cache: {error}") from error
    needed = (*selection.small, *selection.weights)
    total, done = total_bytes(needed), 0
    for file in needed:
        if not has_digest(kept.blob(file.digest), file, _Reporter(progress, "check", file.name, done, total)):
            raise HubError(f"{file.name} of {reference} is damaged in the cache; fetch it again with a network")
        done += file.size
    config = next((file for file in selection.small if file.name == selection.folder + CONFIG), None)
    values = {} if config is None else _table(_content(kept, config), CONFIG)
    tensors: dict[str, TensorInfo] = {}
    for file in selection.weights:
        if file.name.endswith(".safetensors"):
            tensors |= file_tensors(kept.blob(file.digest), file.name)
    return kept.snapshot(commit), commit, tell_contents(values, tensors or None, reference.repo)


class _Reporter:
    """Passes progress on, not more often than eyes can follow."""

    def __init__(self, progress: Progress, stage: str, name: str, before: int, total: int) -> None:
        self._progress, self._stage, self._name = progress, stage, name
        self._before, self._total = before, total
        self._next = 0.0

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        at = self._before + done
        if now >= self._next or at == self._total:
            self._next = now + REPORT_SECONDS
            self._progress({"stage": self._stage, "file": self._name, "done": at, "total": self._total})


def _outlook(
    listing: Listing,
    selection: Selection,
    contents: Contents,
    kept: RepositoryCache,
    room: Room,
    obstacles: tuple[str, ...],
) -> Outlook:
    files = (*selection.small, *((selection.index,) if selection.index else ()), *selection.weights)
    total = total_bytes(files)
    download = total - sum(kept.bytes_present(file) for file in files)
    converted, memory = predict_sizes(contents, total_bytes(selection.weights))
    of_kind = () if contents.works else (f"It will not work here: it is {contents.words}.",)
    of_room = obstacles_of_room(download, converted, memory, room)
    return Outlook(
        repo=listing.repo,
        commit=listing.commit,
        kind=contents.kind,
        family=contents.family,
        contents=contents.words,
        license=listing.license,
        is_gated=listing.is_gated,
        files=tuple((file.name, file.size) for file in files),
        download_bytes=download,
        total_bytes=total,
        converted_bytes=converted,
        memory_bytes=memory,
        free_bytes=room.cache_disk,
        machine_bytes=room.memory,
        obstacles=(*obstacles, *of_kind, *of_room),
        works=not obstacles and not of_kind,
        fits=not of_room,
    )


def _complete(selection: Selection, listing: Listing, kept: RepositoryCache, reference: Reference) -> Selection:
    if selection.index is None:
        return selection
    _fetch_small(kept, reference, listing.commit, selection.index)
    return with_shards(selection, _content(kept, selection.index), listing.files)


def _contents(selection: Selection, listing: Listing, kept: RepositoryCache, reference: Reference) -> Contents:
    for file in selection.small:
        if file.size > MAX_SMALL_BYTES:
            raise ConversionError(f"{file.name} has {file.size:,} bytes; such files have at most {MAX_SMALL_BYTES:,}")
    config: dict[str, Any] = {}
    for file in selection.small:
        if file.name == selection.folder + CONFIG:
            _fetch_small(kept, reference, listing.commit, file)
            config = _table(_content(kept, file), file.name)
    is_readable = all(file.name.endswith(".safetensors") for file in selection.weights)
    contents = tell_contents(config, None, reference.repo)
    # Of a transformer in many files, the configuration says enough.
    if not is_readable or (contents.kind == "transformer" and selection.index is not None):
        if selection.weights and listing.is_gated:
            check_head(reference, listing.commit, selection.weights[0])
        return contents
    tensors: dict[str, TensorInfo] = {}
    for file in selection.weights[:MAX_HEADERS]:
        tensors |= header_tensors(_remote_header(reference, listing.commit, file), file.name)
    return tell_contents(config, tensors, reference.repo)


def _remote_header(reference: Reference, commit: str, file: RemoteFile) -> bytes:
    start = _range(reference, commit, file, 0, LENGTH_BYTES)
    length = int.from_bytes(start, "little")
    if len(start) != LENGTH_BYTES or length > MAX_DESCRIPTION_BYTES or length + LENGTH_BYTES > file.size:
        raise ConversionError(f"{file.name} of {reference.repo} does not begin as a safetensors file does")
    header = _range(reference, commit, file, LENGTH_BYTES, length)
    if len(header) != length:
        raise HubError(f"the Hub sent {len(header):,} bytes of the header of {file.name}; {length:,} were asked for")
    return header


def _range(reference: Reference, commit: str, file: RemoteFile, start: int, count: int) -> bytes:
    """Read a few bytes of a file from the Hub; a server that ignores the range is read as far as it is needed."""
    with (
        explained(reference, f"reading the header of {file.name}"),
        open_stream(reference, commit, file.name, start, start + count - 1) as response,
    ):
        skip = 0 if response.status_code == 206 else start
        taken = bytearray()
        for chunk in response.iter_bytes(1 << 16):
            taken += chunk
            if len(taken) >= skip + count:
                break
        return bytes(taken[skip : skip + count])


def _fetch_small(kept: RepositoryCache, reference: Reference, commit: str, file: RemoteFile) -> None:
    if file.size > MAX_DESCRIPTION_BYTES:
        raise ConversionError(f"{file.name} has {file.size:,} bytes; at most {MAX_DESCRIPTION_BYTES:,} are read")
    _fetch_into(kept, reference, commit, file, lambda _: None)


def _fetch_into(
    kept: RepositoryCache, reference: Reference, commit: str, file: RemoteFile, report: Callable[[int], None]
) -> None:
    fetch_file(kept, reference, commit, file, report)
    kept.link(file, commit)


def _content(kept: RepositoryCache, file: RemoteFile) -> bytes:
    return kept.blob(file.digest).read_bytes()


def _table(raw: bytes, name: str) -> dict[str, Any]:
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConversionError(f"{name} has {len(raw):,} bytes; at most {MAX_CONFIG_BYTES:,} are read")
    content = parse_json(raw, name)
    if not isinstance(content, dict):
        raise ConversionError(f"{name} is not a table of settings")
    return content
