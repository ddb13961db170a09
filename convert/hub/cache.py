"""The Hugging Face cache on disk, in the layout that its other users know.

    models--OWNER--NAME/blobs/DIGEST            content; DIGEST is also its ETag
    models--OWNER--NAME/blobs/DIGEST.mixer-part what has come of it so far; kept for the next try
    models--OWNER--NAME/snapshots/COMMIT/PATH   a link to a blob
    models--OWNER--NAME/refs/BRANCH             the commit that a branch or tag last stood for

Nothing here needs the network or the Hub's client.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from convert.hub.listing import RemoteFile, is_digest
from convert.hub.reference import Reference, is_commit
from mlx_mixer.atomic import write_atomically

DEFAULT_BRANCH = "main"
PART_SUFFIX = ".mixer-part"
STALE_SECONDS = 24 * 3600


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Folder of the cache, by the variables that the Hub's client reads."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environ.get(name):
            return Path(environ[name]).expanduser()
    if environ.get("HF_HOME"):
        return Path(environ["HF_HOME"]).expanduser() / "hub"
    base = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "huggingface" / "hub"


@dataclass(frozen=True)
class RepositoryCache:
    """What the cache holds of one repository."""

    folder: Path

    @classmethod
    def of(cls, repo: str, cache: Path) -> "RepositoryCache":
        return cls(cache / f"models--{repo.replace('/', '--')}")

    def blob(self, digest: str) -> Path:
        assert is_digest(digest), "digests are checked where they come in"
        return self.folder / "blobs" / digest

    def part(self, digest: str) -> Path:
        return self.blob(digest).with_name(digest + PART_SUFFIX)

    def snapshot(self, commit: str) -> Path:
        assert is_commit(commit), "commits are checked where they come in"
        return self.folder / "snapshots" / commit

    def bytes_present(self, file: RemoteFile) -> int:
        """How much of a file is here already, whole or in part."""
        for path in (self.blob(file.digest), self.part(file.digest)):
            if path.is_file():
                return min(path.stat().st_size, file.size)
        return 0

    def link(self, file: RemoteFile, commit: str) -> Path:
        """Let a snapshot show a blob that is whole; return the path in the snapshot."""
        pointer = self.snapshot(commit) / file.name
        if not pointer.exists():
            pointer.parent.mkdir(parents=True, exist_ok=True)
            temporary = pointer.with_name(f".{pointer.name}.{os.getpid()}")
            temporary.symlink_to(os.path.relpath(self.blob(file.digest), pointer.parent))
            temporary.replace(pointer)
        return pointer

    def drop_stale_parts(self, wanted: Collection[str], *, now: float) -> None:
        """Delete what came of files that are wanted no more, such as those of an older commit, a day after it came.

        Args:
            wanted: Digests of files whose parts are kept however old they are.
            now: Seconds since the epoch.
        """
        for part in self.folder.glob(f"blobs/*{PART_SUFFIX}"):
            is_old = now - part.stat().st_mtime > STALE_SECONDS
            if is_old and part.name.removesuffix(PART_SUFFIX) not in wanted:
                part.unlink(missing_ok=True)

    def remember(self, reference: Reference, commit: str) -> None:
        """Note which commit a branch or tag stands for, so that its name works without a network."""
        revision = reference.revision or DEFAULT_BRANCH
        if revision != commit:
            path = self.folder / "refs" / revision
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, commit.encode())

    def known_commit(self, reference: Reference) -> str | None:
        """The commit that a reference stood for when it was last looked up."""
        revision = reference.revision or DEFAULT_BRANCH
        if is_commit(revision):
            return revision if self.snapshot(revision).is_dir() else None
        try:
            commit = (self.folder / "refs" / revision).read_bytes()[:64].decode("ascii").strip()
        except (OSError, ValueError):
            return None
        return commit if is_commit(commit) else None

    def files(self, commit: str) -> dict[str, RemoteFile]:
        """The files that a snapshot shows, with the digests that their blobs are named by."""
        found: dict[str, RemoteFile] = {}
        root = self.snapshot(commit)
        for path in root.rglob("*"):
            digest = path.readlink().name if path.is_symlink() else ""
            if is_digest(digest) and path.is_file():
                name = path.relative_to(root).as_posix()
                found[name] = RemoteFile(name, path.stat().st_size, digest)
        return found


def origin_of(path: Path) -> tuple[str, str] | None:
    """The repository and commit of a path inside a snapshot of the cache; None for any other path."""
    parts = path.absolute().parts
    for place in range(len(parts) - 2):
        folder, kind, commit = parts[place : place + 3]
        pieces = folder.split("--")
        if pieces[0] == "models" and len(pieces) == 3 and kind == "snapshots" and is_commit(commit):
            return f"{pieces[1]}/{pieces[2]}", commit
    return None
