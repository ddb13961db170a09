"""Walk a folder: every regular file worth reading, and a reason for everything left out.

Iterative (deep trees must not exhaust the stack), follows no symbolic link, opens nothing but ignore files.
"""

import os
import stat
import sys
from collections.abc import Iterator
from itertools import chain, islice
from operator import attrgetter
from typing import NamedTuple

from mlx_mixer.documents.ignore import RULE_NAMES, IgnoreRules
from mlx_mixer.documents.readers import reader_for
from mlx_mixer.documents.rules import FOLDER_MARKS, file_reason, folder_reason

# Most readers take no more than this; see `Reader.max_bytes`.
MAX_FILE_BYTES = 20_000_000
_MAX_DEPTH = 200
_MAX_PATH_BYTES = 4000
_SORTED_ENTRIES = 4096
_SPECIAL_NAMES = RULE_NAMES | FOLDER_MARKS.keys()
_KIND = 0o170000  # S_IFMT: what kind of file a mode is of
_ON_MAC = sys.platform == "darwin"
# The content is in a cloud and reading it would block until it is downloaded (sys/stat.h, SF_DATALESS).
_SF_DATALESS = 0x40000000


class Found(NamedTuple):
    """A regular file. `mtime_ns` is in nanoseconds since the epoch, `size` in bytes."""

    path: bytes
    size: int
    mtime_ns: int
    inode: int


class _Folder(NamedTuple):
    """A folder to enter; `rules` are those in effect around it."""

    path: bytes
    depth: int
    device: int
    rules: IgnoreRules


class LeftOut(NamedTuple):
    """A file or folder that is not read; `unreadable` tells a fault (permission, vanished) from a rule."""

    path: bytes
    reason: str
    unreadable: bool = False


def scan(path: bytes, root: bytes | None = None, *, mounts: list[bytes] | None = None) -> Iterator[Found | LeftOut]:
    """Yield what lies at and below `path`, folders in order of name; so are the files of all but the largest folders.

    Args:
        path: Absolute path of a folder or a file. Being named by the user, it is taken even where its own name would
            be left out as hidden; secrets are left out all the same.
        root: Where the walk this is a part of began, if that is not `path` itself: ignore files from there on count.
        mounts: Folders below `path` at which another file system is mounted are added to this list.
    """
    try:
        status = os.lstat(path)
    except OSError as error:
        yield LeftOut(path, _explain(error), unreadable=True)
        return
    if not stat.S_ISDIR(status.st_mode):
        yield _judge_root_file(path, status)
        return
    rules = IgnoreRules.above(path) if root is None else IgnoreRules.inside(root, path)
    pending = [_Folder(path, 0, status.st_dev, rules)]
    visited = {(status.st_dev, status.st_ino)}
    while pending:
        folder = pending.pop()
        if folder.device != status.st_dev and mounts is not None and os.path.ismount(folder.path):
            mounts.append(folder.path)
        inner: list[_Folder] = []
        try:
            with os.scandir(folder.path) as entries:
                yield from _judge_all(entries, folder, visited, inner)
        except OSError as error:
            yield LeftOut(folder.path, _explain(error), unreadable=True)
        inner.sort(key=attrgetter("path"), reverse=True)
        pending.extend(inner)


def is_reached(path: bytes, root: bytes) -> bool:
    """Whether a walk from `root` comes to `path` as far as names and ignore files tell."""
    if not is_inside(path, root):
        return False
    *folders, name = path[len(root) :].strip(b"/").split(b"/")
    if any(folder_reason(folder) for folder in folders) or (name and folder_reason(name) and file_reason(name)):
        return False
    rules, here = IgnoreRules.above(root), root
    for part in (*folders, name) if name else ():
        rules = rules.entering(here)
        here = os.path.join(here, part)  # noqa: PTH118  (bytes)
        if rules.reason(here, part, is_folder=here != path or os.path.isdir(path)):  # noqa: PTH112  (bytes)
            return False
    return True


def is_inside(path: bytes, folder: bytes) -> bool:
    """Whether `path` is `folder` or lies below it."""
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def _judge_root_file(path: bytes, status: os.stat_result) -> Found | LeftOut:
    reason = file_reason(os.path.basename(path))  # noqa: PTH119  (bytes)
    if reason and reason != "hidden":
        return LeftOut(path, reason)
    return _regular_file(path, status)


def _judge_all(
    entries: "Iterator[os.DirEntry[bytes]]", folder: "_Folder", visited: set[tuple[int, int]], inner: "list[_Folder]"
) -> Iterator[Found | LeftOut]:
    """Judge the entries of one folder; folders to enter are added to `inner`."""
    # A folder of a million files must not be held in memory, so only its beginning is put in order.
    first = sorted(islice(entries, _SORTED_ENTRIES), key=attrgetter("name"))
    if len(first) < _SORTED_ENTRIES:
        special = set(_SPECIAL_NAMES.intersection(entry.name for entry in first))
    else:
        special = {name for name in _SPECIAL_NAMES if os.path.lexists(os.path.join(folder.path, name))}  # noqa: PTH118
    if special and folder.depth and (marks := special & FOLDER_MARKS.keys()):
        yield LeftOut(folder.path, FOLDER_MARKS[min(marks)])
        return
    rules = folder.rules.entering(folder.path, special & RULE_NAMES) if special else folder.rules
    has_rules = bool(rules)
    for entry in chain(first, entries):
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as error:
            yield LeftOut(entry.path, _explain(error), unreadable=True)
            continue
        kind = status.st_mode & _KIND
        if kind != stat.S_IFDIR:
            name = entry.name
            reason = file_reason(name) or (has_rules and rules.reason(entry.path, name, is_folder=False)) or None
            if reason:
                yield LeftOut(entry.path, reason)
            elif kind == stat.S_IFREG and 0 < status.st_size <= MAX_FILE_BYTES and not _ON_MAC:
                # By far the most frequent case, which `_regular_file` would only confirm.
                yield Found(entry.path, status.st_size, status.st_mtime_ns, status.st_ino)
            else:
                yield _regular_file(entry.path, status)
        elif reason := _folder_reason(entry, status, folder.depth, visited, rules):
            yield LeftOut(entry.path, reason)
        else:
            visited.add((status.st_dev, status.st_ino))
            inner.append(_Folder(entry.path, folder.depth + 1, status.st_dev, rules))


def _folder_reason(
    entry: "os.DirEntry[bytes]",
    status: os.stat_result,
    depth: int,
    visited: set[tuple[int, int]],
    rules: IgnoreRules,
) -> str | None:
    if reason := folder_reason(entry.name) or rules.reason(entry.path, entry.name, is_folder=True):
        return reason
    if depth >= _MAX_DEPTH or len(entry.path) > _MAX_PATH_BYTES:
        return "nested too deeply"
    if (status.st_dev, status.st_ino) in visited:  # a bind mount inside itself
        return "the same folder as one above"
    return None


def _regular_file(path: bytes, status: os.stat_result) -> Found | LeftOut:
    if stat.S_ISLNK(status.st_mode):
        return LeftOut(path, "a symbolic link")
    if not stat.S_ISREG(status.st_mode):
        return LeftOut(path, "not a regular file")
    if status.st_size == 0:
        return LeftOut(path, "empty")
    if status.st_size > MAX_FILE_BYTES and status.st_size > (limit := reader_for(path).max_bytes):
        return LeftOut(path, f"larger than {limit // 1_000_000} MB")
    if _ON_MAC and is_evicted(status):
        return LeftOut(path, "in the cloud, not on this disk")
    return Found(path, status.st_size, status.st_mtime_ns, status.st_ino)


def is_evicted(status: os.stat_result) -> bool:
    """Whether macOS holds a file's name and facts only, its content being in a cloud: reading would block."""
    return bool(getattr(status, "st_flags", 0) & _SF_DATALESS or (status.st_size > 0 and status.st_blocks == 0))


def _explain(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
