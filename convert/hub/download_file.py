"""One file of a repository: fetched with resume, bounded by its declared size, and proven by its hash.

The Hub's own client (2.4) begins again from zero after an interruption, checks the size and not the content, and names
the file on disk by whatever ETag the server sends. So the bytes are taken here: what has come stays in
`blobs/DIGEST.mixer-part`, the next try asks for the rest with a range request, and only a file whose SHA-256 (large
files) or git blob SHA-1 (small ones) is the listed one becomes a blob of the cache.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

import httpx2

from convert.hub.cache import RepositoryCache
from convert.hub.client import check_head, open_stream
from convert.hub.errors import HubUnreachableError, explained
from convert.hub.listing import RemoteFile
from convert.hub.reference import Reference
from mlx_mixer.errors import HubError, ResourceError

CHUNK_BYTES = 1 << 18
TRIES_WITHOUT_PROGRESS = 3
FIRST_WAIT_SECONDS = 0.5
SLOWEST_BYTES_PER_SECOND = 512
SLOW_SECONDS = 60
"""A line that brings fewer bytes than this for so long counts as stalled."""

Report = Callable[[int], None]
"""Called with the number of bytes of the file that are here and hashed."""


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


class _Broken(Exception):  # noqa: N818  # never leaves this file
    """The connection ended before the file did."""


def fetch_file(cache: RepositoryCache, reference: Reference, commit: str, file: RemoteFile, report: Report) -> Path:
    """Return the blob with a file's content, fetched if need be.

    Args:
        cache: Where the repository is kept.
        reference: The repository.
        commit: What its revision stands for.
        file: As the Hub listed it.
        report: Called as bytes arrive.

    Raises:
        ModelNotFoundError: If the file may not be fetched, or the Hub cannot be reached.
        HubError: If what arrives is not the file that was listed, or another program is fetching it.
        ResourceError: If the disk is full.
    """
    blob = cache.blob(file.digest)
    if blob.exists() and has_digest(blob, file, report):
        return blob
    blob.unlink(missing_ok=True)  # bits rot; the listed hash is the truth
    check_head(reference, commit, file)
    blob.parent.mkdir(parents=True, exist_ok=True)
    with _locked_part(cache.part(file.digest), file) as part:
        if blob.exists():  # another program was quicker
            return blob
        try:
            _fill(part, reference, commit, file, report)
        except OSError as error:
            # Errors of the line are HubErrors by now.
            raise ResourceError(f"{blob.parent} cannot take {file.name}: {error.strerror or error}") from error
        os.fsync(part.fileno())
        cache.part(file.digest).replace(blob)
    return blob


def has_digest(path: Path, file: RemoteFile, report: Report) -> bool:
    """Whether a file on disk is the one that was listed."""
    if path.stat().st_size != file.size:
        return False
    digest = _new_hash(file)
    with path.open("rb") as stream:
        _hash_all(stream, digest, report)
    return digest.hexdigest() == file.digest


def _fill(part: IO[bytes], reference: Reference, commit: str, file: RemoteFile, report: Report) -> None:
    """Bring a part to its full length and check it; what was kept of an earlier try is not trusted twice."""
    kept = part.seek(0, os.SEEK_END)
    if kept > file.size:
        kept = _emptied(part)
    digest = _appended(part, reference, commit, file, report)
    if digest.hexdigest() != file.digest and kept:
        _emptied(part)
        digest = _appended(part, reference, commit, file, report)
    if digest.hexdigest() != file.digest:
        _emptied(part)
        raise HubError(
            f"{file.name} of {reference.repo} arrived with other content than its hash says; it was thrown away: "
            "try again, and distrust this network if it happens twice"
        )


def _appended(part: IO[bytes], reference: Reference, commit: str, file: RemoteFile, report: Report) -> _Hash:
    """Append what is missing, over as many connections as it takes while bytes arrive."""
    digest = _new_hash(file)
    part.seek(0)
    have = _hash_all(part, digest, report)
    failures = 0
    while have < file.size:
        before = have
        try:
            with explained(reference, f"fetching {file.name}"):
                for chunk in _chunks(reference, commit, file, have, part):
                    if chunk is None:  # the server began at the beginning
                        have, digest = _emptied(part), _new_hash(file)
                        continue
                    part.write(chunk)
                    digest.update(chunk)
                    have += len(chunk)
                    report(have)
            _check_whole(have, file)
        except (HubUnreachableError, _Broken) as error:
            part.flush()
            failures = 1 if have > before else failures + 1
            if failures >= TRIES_WITHOUT_PROGRESS:
                raise HubUnreachableError(
                    f"{file.name} stopped at {have:,} of {file.size:,} bytes ({error}); what has come is kept: "
                    "the same command goes on from there"
                ) from error
            time.sleep(FIRST_WAIT_SECONDS * 2 ** (failures - 1))
    part.flush()
    return digest


def _check_whole(have: int, file: RemoteFile) -> None:
    if have < file.size:
        raise _Broken(f"it ended after {have:,} of {file.size:,} bytes")


def _chunks(reference: Reference, commit: str, file: RemoteFile, have: int, part: IO[bytes]) -> Iterator[bytes | None]:
    """Yield the bytes of a file from `have` on; None first if they come from its beginning instead."""
    with open_stream(reference, commit, file.name, have, None) as response:
        total = _check_answer(response, file, have)
        if have and response.status_code == httpx2.codes.OK:
            have = 0
            yield None
        left = total - have
        started, taken = time.monotonic(), 0
        for chunk in response.iter_bytes():
            if len(chunk) > left:
                _emptied(part)
                raise HubError(f"the Hub sends more of {file.name} than the {file.size:,} bytes it declared; stopped")
            left -= len(chunk)
            taken += len(chunk)
            yield chunk
            if (now := time.monotonic()) - started > SLOW_SECONDS:
                if taken < SLOWEST_BYTES_PER_SECOND * SLOW_SECONDS:
                    raise _Broken("the line has stalled")
                started, taken = now, 0


def _check_answer(response: httpx2.Response, file: RemoteFile, have: int) -> int:
    """Check the headers of an answer to a request for the bytes from `have` on; return the size of the file."""
    if response.headers.get("content-encoding", "identity") != "identity":
        return file.size
    length = response.headers.get("content-length", "")
    expected = file.size
    if response.status_code == httpx2.codes.PARTIAL_CONTENT:
        if response.headers.get("content-range", "") != f"bytes {have}-{file.size - 1}/{file.size}":
            raise HubError(
                f"the Hub sends another part of {file.name} than was asked for "
                f"({response.headers.get('content-range', '')[:60]!r})"
            )
        expected -= have
    if length.isascii() and length.isdigit() and int(length) != expected:
        page = "; it looks like a web page: is there a login page in this network?" if _is_page(response) else ""
        raise HubError(f"the Hub sends {int(length):,} bytes as {file.name}, which has {expected:,}{page}")
    return file.size


def _is_page(response: httpx2.Response) -> bool:
    return response.headers.get("content-type", "").startswith("text/html")


@contextmanager
def _locked_part(path: Path, file: RemoteFile) -> Iterator[IO[bytes]]:
    with path.open("a+b") as part:
        try:
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released by the system, whatever ends us
        except OSError as error:
            raise HubError(f"another program is fetching {file.name} right now; wait for it") from error
        yield part


def _new_hash(file: RemoteFile) -> _Hash:
    if file.is_large:
        return hashlib.sha256()
    # https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
    return hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)


def _hash_all(stream: IO[bytes], digest: _Hash, report: Report) -> int:
    have = 0
    while chunk := stream.read(CHUNK_BYTES):
        digest.update(chunk)
        have += len(chunk)
        report(have)
    return have


def _emptied(part: IO[bytes]) -> int:
    part.seek(0)
    part.truncate()
    return 0
