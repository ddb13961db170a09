"""Walk a folder: every regular file worth reading, and a reason for everything left out.

Iterative (deep trees must not exhaust the stack), follows no symbolic link, opens nothing.
"""

import os
import stat
from collections.abc import Iterator
from operator import attrgetter
from typing import NamedTuple

from mlx_mixer.documents.rules import FOLDER_MARKS, file_reason, folder_reason

MAX_FILE_BYTES = 20_000_000
_MAX_DEPTH = 200
_MAX_PATH_BYTES = 4000
# macOS: the content is in a cloud and reading it would block until it is downloaded (sys/stat.h, SF_DATALESS).
_SF_DATALESS = 0x40000000


class Found(NamedTuple):
    """A regular file. `mtime_ns` is in nanoseconds since the epoch, `size` in bytes."""

    path: bytes
    size: int
    mtime_ns: int
    inode: int


class LeftOut(NamedTuple):
    """A file or folder that is not read; `unreadable` tells a fault (permission, vanished) from a rule."""

    path: bytes
    reason: str
    unreadable: bool = False


def scan(root: bytes) -> Iterator[Found | LeftOut]:
    """Yield what lies at and below `root`, folders in order of name.

    Args:
        root: Absolute path of a folder or a file. Being named by the user, it is taken even where its own name would
            be left out as hidden; secrets are left out all the same.
    """
    try:
        status = os.lstat(root)
    except OSError as error:
        yield LeftOut(root, _explain(error), unreadable=True)
        return
    if not stat.S_ISDIR(status.st_mode):
        yield _judge_root_file(root, status)
        return
    visited = {(status.st_dev, status.st_ino)}
    pending = [(root, 0)]
    while pending:
        folder, depth = pending.pop()
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=attrgetter("name"))
        except OSError as error:
            yield LeftOut(folder, _explain(error), unreadable=True)
            continue
        mark = next((FOLDER_MARKS[entry.name] for entry in listed if entry.name in FOLDER_MARKS), None)
        if mark and folder != root:
            yield LeftOut(folder, mark)
            continue
        folders: list[tuple[bytes, int]] = []
        for entry in listed:
            yield from _judge(entry, depth, visited, folders)
        pending.extend(reversed(folders))


def is_reached(path: bytes, root: bytes) -> bool:
    """Whether a walk from `root` comes to `path` as far as names tell."""
    if not is_inside(path, root):
        return False
    *folders, name = path[len(root) :].strip(b"/").split(b"/")
    return not any(folder_reason(folder) for folder in folders) and not (
        name and folder_reason(name) and file_reason(name)
    )


def is_inside(path: bytes, folder: bytes) -> bool:
    """Whether `path` is `folder` or lies below it."""
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def _judge_root_file(path: bytes, status: os.stat_result) -> Found | LeftOut:
    reason = file_reason(os.path.basename(path))  # noqa: PTH119  (bytes)
    if reason and reason != "hidden":
        return LeftOut(path, reason)
    return _regular_file(path, status)


def _judge(
    entry: "os.DirEntry[bytes]", depth: int, visited: set[tuple[int, int]], folders: list[tuple[bytes, int]]
) -> Iterator[Found | LeftOut]:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError as error:
        yield LeftOut(entry.path, _explain(error), unreadable=True)
        return
    if not stat.S_ISDIR(status.st_mode):
        reason = file_reason(entry.name)
        yield LeftOut(entry.path, reason) if reason else _regular_file(entry.path, status)
        return
    reason = folder_reason(entry.name)
    identity = (status.st_dev, status.st_ino)
    if reason is None and (depth >= _MAX_DEPTH or len(entry.path) > _MAX_PATH_BYTES):
        reason = "nested too deeply"
    if reason is None and identity in visited:  # a bind mount inside itself
        reason = "the same folder as one above"
    if reason:
        yield LeftOut(entry.path, reason)
        return
    visited.add(identity)
    folders.append((entry.path, depth + 1))


def _regular_file(path: bytes, status: os.stat_result) -> Found | LeftOut:
    if stat.S_ISLNK(status.st_mode):
        return LeftOut(path, "a symbolic link")
    if not stat.S_ISREG(status.st_mode):
        return LeftOut(path, "not a regular file")
    if status.st_size == 0:
        return LeftOut(path, "empty")
    if status.st_size > MAX_FILE_BYTES:
        return LeftOut(path, f"larger than {MAX_FILE_BYTES // 1_000_000} MB")
    if getattr(status, "st_flags", 0) & _SF_DATALESS:
        return LeftOut(path, "in the cloud, not on this disk")
    return Found(path, status.st_size, status.st_mtime_ns, status.st_ino)


def _explain(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
