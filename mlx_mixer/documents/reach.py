"""Whether the disk that a path lies on is there: what is on an unmounted one is away, and not deleted."""

import os

from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.scan import is_inside


def away_reason(db: Database, path: bytes) -> str | None:
    """Say why nothing can be learned from what `path` looks like now, if so.

    A folder that lay on a mounted disk, and now is an empty one where nothing is mounted, is such a case. If there are
    files in it, they have taken the disk's place.
    """
    if not os.path.lexists(path):
        return "no such file or folder"
    if any(is_inside(path, mount) for mount in lost_mounts(db)) and _is_empty(path):
        return "empty, and the disk it was on is not mounted"
    return None


def lost_mounts(db: Database) -> list[bytes]:
    """The folders at which a disk was mounted and is not now."""
    rows = db.execute("SELECT path FROM mounts ORDER BY path")
    return [mount for (mount,) in rows if not os.path.ismount(mount)]


def remember_mounts(db: Database, path: bytes, inside: list[bytes]) -> None:
    """Store where disks are mounted: above `path`, which was just looked through, and in it; inside a transaction."""
    mounts = list(inside)
    if (above := _mount_of(path)) != b"/":
        mounts.append(above)
    db.executemany("INSERT OR IGNORE INTO mounts (path) VALUES (?)", [(mount,) for mount in mounts])


def hidden_by_unmounting(path: bytes, lost: list[bytes]) -> bool:
    """Whether a file that was not found may still be on a disk that is away."""
    return any(is_inside(path, mount) and _is_empty(mount) for mount in lost)


def is_there(root: bytes, path: bytes, lost: list[bytes]) -> bool:
    """Whether the disk of a file is there, so that the file's absence means something."""
    return (root == path or os.path.lexists(root)) and not hidden_by_unmounting(path, lost)


def _mount_of(path: bytes) -> bytes:
    while not os.path.ismount(path):
        path = os.path.dirname(path)  # noqa: PTH120  (bytes)
    return path


def _is_empty(folder: bytes) -> bool:
    """Whether nothing is in a folder, or it is gone too."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return True
