"""The zip archives that `torch.save` writes: members side by side, uncompressed, below one folder."""

import io
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

from convert.sources.steady_file import read_exactly
from convert.sources.torch_lookalikes import refuse_archive
from mlx_mixer.errors import ConversionError
from mlx_mixer.foreign import file_size, quoted

MAX_MEMBERS = 100_000
# Local header: signature, ten fields, then the lengths of the name and of the extra field that stand before the data.
_LOCAL_HEADER = struct.Struct("<4s22x2H")
_SIGNATURE = b"PK\x03\x04"
_IS_ENCRYPTED = 1


def open_zip(file: io.BufferedReader, path: Path) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """Open and check an archive.

    Returns:
        The archive, and its members by their names below the one folder that torch puts them in.

    Raises:
        ConversionError: If it is damaged, of another kind, or could unfold to more than the file holds.
    """
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, struct.error, ValueError, OSError, NotImplementedError, OverflowError) as error:
        raise ConversionError(f"{path.name} is damaged or no torch file: {quoted(str(error))}") from error
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise ConversionError(f"{path.name} has {len(members):,} members; at most {MAX_MEMBERS:,}")
    refuse_archive({name for member in members for name in _names(member)}, path.name)
    for member in members:
        # torch stores without compression; anything else could unfold to any size.
        if (
            member.compress_type != zipfile.ZIP_STORED
            or member.compress_size != member.file_size
            or member.flag_bits & _IS_ENCRYPTED
        ):
            raise ConversionError(f"{path.name} is compressed or encrypted, which torch.save never does")
    _refuse_overlap(members, file_size(file), path)
    named = {member.filename.partition("/")[2]: member for member in members}
    if len(named) != len(members):
        raise ConversionError(f"{path.name} is damaged: it has the same member twice")
    return archive, named


def data_begin(file: io.BufferedReader, member: zipfile.ZipInfo, path: Path) -> int:
    """Where in the file the data of a stored member begins.

    Raises:
        ConversionError: If there is no such member there.
    """
    raw = read_exactly(file, member.header_offset, _LOCAL_HEADER.size, path)
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(raw)
    begin = member.header_offset + _LOCAL_HEADER.size + int(name_length) + int(extra_length)
    if signature != _SIGNATURE or begin + member.file_size > file_size(file):
        raise ConversionError(f"{path.name} is damaged: a member is not where its table says")
    return begin


def _names(member: zipfile.ZipInfo) -> tuple[str, str]:
    return member.filename, member.filename.partition("/")[2]


def _refuse_overlap(members: Sequence[zipfile.ZipInfo], size: int, path: Path) -> None:
    """Refuse members that lie over each other: the other way to a small archive of any size."""
    if sum(member.file_size for member in members) > size:
        raise ConversionError(f"{path.name} is damaged: its members are larger than the file")
    end = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        if member.header_offset < end:
            raise ConversionError(f"{path.name} is damaged: its members lie over each other")
        end = member.header_offset + _LOCAL_HEADER.size + len(member.orig_filename) + member.file_size
    if end > size:
        raise ConversionError(f"{path.name} is damaged: its members reach beyond its end")
