"""What a reader hands to the chunker: text, and where its parts begin."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """A part of a text under one heading; it lasts until the next one starts.

    Attributes:
        start: Offset in characters of its first character (of the heading itself, where the text shows one).
        heading: The headings it lies under, outermost first.
    """

    start: int
    heading: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadDocument:
    r"""A document as text.

    Attributes:
        text: The whole of it, line ends as ``\n``.
        title: What it calls itself, or an empty string.
        sections: In order; the first starts at 0, and together they cover the text.
        blocks: ``(start, end)`` of stretches that should not be cut inside if that can be helped, such as code fences.
    """

    text: str
    title: str = ""
    sections: tuple[Section, ...] = (Section(0),)
    blocks: tuple[tuple[int, int], ...] = ()
