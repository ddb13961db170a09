"""How much of one file is read, whatever it claims to hold."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits on one file; what lies beyond them is left out and noted.

    Attributes:
        seconds: After this long a reader keeps what it has; its process is killed a little later.
        characters: Of text.
        pages: Of a PDF, slides, sheets, messages.
        part_bytes: Of one member of an archive, unpacked.
        total_bytes: Of all members of an archive that are read, unpacked.
        ratio: Unpacked to packed size of one member, once it is larger than a megabyte.
        depth: Of attachments in attachments.
        attachments: Of one file in all.
    """

    seconds: float = 15.0
    characters: int = 10_000_000
    pages: int = 2_000
    part_bytes: int = 64_000_000
    total_bytes: int = 256_000_000
    ratio: int = 200
    depth: int = 3
    attachments: int = 100
