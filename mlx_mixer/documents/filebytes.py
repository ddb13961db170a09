"""Read one file's bytes so that nothing odd at its path can hang, follow a link or fill the memory."""

import os
import stat
from hashlib import blake2b
from typing import NamedTuple

from mlx_mixer.documents.scan import MAX_FILE_BYTES
from mlx_mixer.documents.unreadable import UnreadableError

# A file touched so recently may change again without its time changing: git calls such an entry racy.
_RACY_NS = 2_000_000_000
UNSETTLED = -1
_MORE_BYTES = 1 << 20


class FileBytes(NamedTuple):
    """What was read, and the facts to recognise it by next time (`mtime_ns` is `UNSETTLED` if they are not sure)."""

    data: bytes
    size: int
    mtime_ns: int
    inode: int


def read_file(path: bytes, *, now_ns: int, max_bytes: int = MAX_FILE_BYTES) -> FileBytes:
    """Read a regular file.

    Args:
        path: Where it lies; a symbolic link is refused.
        now_ns: Present time in nanoseconds since the epoch.
        max_bytes: How large it may be.

    Raises:
        UnreadableError: If it is not a regular file any more, or too large.
        OSError: If it cannot be opened or read.
    """
    # O_NONBLOCK: opening a FIFO would otherwise wait for a writer for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise UnreadableError("not a regular file")
        data = os.read(descriptor, min(before.st_size, max_bytes) + 1)
        # As much as there was and not a byte more is all of it; otherwise it has grown or shrunk meanwhile.
        while before.st_size != len(data) <= max_bytes and (more := os.read(descriptor, _MORE_BYTES)):
            data += more
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if len(data) > max_bytes:
        raise UnreadableError(f"larger than {max_bytes // 1_000_000} MB")
    changed = (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or after.st_size != len(data)
    settled = not changed and now_ns - after.st_mtime_ns > _RACY_NS
    return FileBytes(data, after.st_size, after.st_mtime_ns if settled else UNSETTLED, after.st_ino)


def content_hash(data: bytes) -> bytes:
    """BLAKE2b, 16 bytes."""
    return blake2b(data, digest_size=16).digest()
