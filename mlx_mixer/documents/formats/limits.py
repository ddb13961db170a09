"""How much of one file is read, whatever it claims to hold."""

from dataclasses import dataclass


class FullError(Exception):
    """Enough was read; the message says what was left out."""


@dataclass(frozen=True)
class Limits:
    """Limits on one file; what lies beyond them is left out and noted.

    Attributes:
        seconds: After this long a reader keeps what it has; its process is killed a little later.
        characters: Of text.
        data_characters: Of a table or of JSON: more is for programs, not for people.
        pages: Of a PDF, slides, sheets, messages.
        part_bytes: Of one member of an archive, unpacked.
        total_bytes: Of all members of an archive that are read, unpacked.
        ratio: Unpacked to packed size of one member, once it is larger than a megabyte.
        depth: Of attachments in attachments.
        attachments: Of one file in all.
    """

    seconds: float = 15.0
    characters: int = 10_000_000
    data_characters: int = 2_000_000
    pages: int = 2_000
    part_bytes: int = 64_000_000
    total_bytes: int = 256_000_000
    ratio: int = 200
    depth: int = 3
    attachments: int = 100


def whole_lines(text: str, limit: int) -> str:
    """Return as many whole lines as fit into `limit` characters; a piece of the first if not even that does."""
    if len(text) <= limit:
        return text
    return text[: text.rfind("\n", 0, limit) + 1 or limit]


def note_rest(kept: str, text: str) -> None:
    """Say that text was left out, if so.

    Raises:
        FullError: If it was.
    """
    if len(kept) < len(text):
        raise FullError(f"only the first {len(kept):,} of {len(text):,} characters")
