"""Members of a zip file in memory, unpacked piece by piece and never beyond what is allowed; nothing goes to disk."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from functools import cached_property

from mlx_mixer.documents.formats.builder import Builder
from mlx_mixer.documents.formats.damaged import DamagedError
from mlx_mixer.documents.formats.limits import FullError
from mlx_mixer.documents.unreadable import UnreadableError

_PIECE = 1 << 16
_RATIO_FROM_BYTES = 1_000_000
_ENCRYPTED = 0x1
# An Office file with a password is one of these (MS-CFB) around the encrypted zip (MS-OFFCRYPTO).
_COMPOUND_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")


class Archive:
    """A zip file's members.

    Args:
        data: The file.
        out: Whose limits count, and whose clock.

    Raises:
        UnreadableError: If it is no zip file or has a password.
    """

    def __init__(self, data: bytes, out: Builder) -> None:
        if data.startswith(_COMPOUND_FILE):
            raise UnreadableError(
                "password-protected" if _ENCRYPTED_PACKAGE in data else "an Office file of before 2007: not supported"
            )
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, OSError) as error:
            raise UnreadableError("damaged: not the zip file it should be") from error
        self._out = out
        self._unpacked = 0

    @cached_property
    def names(self) -> frozenset[str]:
        """The members' names."""
        return frozenset(self._zip.namelist())

    def read(self, name: str) -> bytes:
        """Return a whole member.

        Raises:
            DamagedError: If there is none of this name, or it cannot be unpacked.
            FullError: If it is larger than allowed.
            UnreadableError: If it unpacks to suspiciously much, or has a password.
        """
        return b"".join(self.pieces(name))

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield a member in pieces; raises what `read` does, after the pieces that are allowed."""
        if name not in self.names:
            raise DamagedError(f"it has no part {name}")
        info = self._zip.getinfo(name)
        if info.flag_bits & _ENCRYPTED:
            raise UnreadableError("password-protected")
        limits, length = self._out.limits, 0
        try:
            with self._zip.open(info) as file:
                while piece := file.read(_PIECE):
                    length += len(piece)
                    self._unpacked += len(piece)
                    if length > _RATIO_FROM_BYTES and length > limits.ratio * info.compress_size:
                        raise UnreadableError(f"looks like a zip bomb: unpacks to over {limits.ratio} times its size")
                    if length > limits.part_bytes or self._unpacked > limits.total_bytes:
                        raise FullError(f"the rest unpacks to more than {limits.part_bytes // 1_000_000} MB")
                    self._out.check_time()
                    yield piece
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError) as error:
            raise DamagedError("a part of it cannot be unpacked") from error
