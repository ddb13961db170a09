"""What a reader hands to the chunker: text, and where its parts begin."""

from typing import Literal, NamedTuple

PageKind = Literal["", "page", "slide", "sheet", "message", "cell"]


# What a page of a kind is called before its number.
_PAGE_NAMES = {"": "p.", "page": "p."}


def page_label(kind: str, page: int | None) -> str:
    """Return what people call a page: ``p. 3``, ``slide 3``; an empty string without one."""
    return "" if page is None else f"{_PAGE_NAMES.get(kind, kind)} {page}"


def shortened(words: str, most: int) -> str:
    """A heading of at most so many characters; a longer one ends after a whole word if it can, with an ellipsis."""
    words = words.strip()
    if len(words) <= most:
        return words
    end = words.rfind(" ", most // 2, most)
    return f"{words[: end if end > 0 else most - 1].rstrip(' ,;:')}…"


class Section(NamedTuple):
    """A part of a text under one heading; it lasts until the next one starts.

    Attributes:
        start: Offset in characters of its first character (of the heading itself, where the text shows one).
        heading: The headings it lies under, outermost first.
    """

    start: int
    heading: tuple[str, ...] = ()


class ReadDocument(NamedTuple):
    r"""A document as text.

    Attributes:
        text: The whole of it, line ends as ``\n``.
        title: What it calls itself, or an empty string.
        sections: In order; the first starts at 0, and together they cover the text.
        blocks: ``(start, end)`` of stretches that should not be cut inside if that can be helped, such as code fences.
        pages: Offsets where its pages start; page N (counted from 1) starts at ``pages[N - 1]``. The first starts at 0,
            an empty page where the next one does. No pages: the file knows lines only.
        page_kind: What a page is called. No chunk goes over the end of one, except of a notebook's cells.
        note: What of the file is not in the text, and why, or an empty string: ``partial: 2,000 of 9,000 pages``.
    """

    text: str
    title: str = ""
    sections: tuple[Section, ...] = (Section(0),)
    blocks: tuple[tuple[int, int], ...] = ()
    pages: tuple[int, ...] = ()
    page_kind: PageKind = ""
    note: str = ""
