"""Cut a document into chunks that a reader would call one thing, and that the embedder takes in whole.

Chunk bodies do not overlap and leave nothing out: joined in order they are the document. Sizes are estimated from
bytes, not counted by a tokenizer, so that the cuts (and with them everything keyed by a chunk's hash) are the same
whichever model is attached, or none.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from mlx_mixer.documents.structure import ReadDocument
from mlx_mixer.documents.units import Units, byte_length

# UTF-8 bytes per token of 8,192 SentencePiece pieces on English prose, white space around lines not counted; measured.
# Source code has 3.0, so its chunks hold a sixth more tokens than estimated.
BYTES_PER_TOKEN = 3.5


class ChunkSizes(NamedTuple):
    """Sizes in estimated tokens.

    Attributes:
        target: What a chunk should have.
        maximum: What no chunk exceeds; with its headings it fits the 256 tokens our models see at once.
        minimum: A section smaller than this joins its own first subsection.
        trifle: A section smaller than this joins whatever is beside it.
    """

    target: int = 180
    maximum: int = 230
    minimum: int = 40
    trifle: int = 8


class Chunk(NamedTuple):
    """``text[start:end]`` of a document; `line` and `page` (that of its start) count from 1."""

    start: int
    end: int
    line: int
    heading: tuple[str, ...]
    page: int | None = None


# A stretch of text under one heading and on one page: start, end, size in bytes, heading, page. A plain tuple, for a
# document has one for every few lines.
_Span = tuple[int, int, int, tuple[str, ...], int | None]


def chunk_document(document: ReadDocument, sizes: ChunkSizes | None = None) -> list[Chunk]:
    """Cut `document`; every chunk lies in one section, unless sections are very small, and on one page.

    Returns:
        Chunks in order, at least one for a text that is not empty.
    """
    sizes = sizes or ChunkSizes()
    chunks, line, position = [], 1, 0
    count = document.text.count
    for start, end, _, heading, page in _joined(document, sizes):
        line += count("\n", position, start)
        position = start
        chunks.append(Chunk(start, end, line, heading, page))
    return chunks


def estimate_tokens(text: str) -> float:
    return byte_length(text.strip()) / BYTES_PER_TOKEN


def _spans(document: ReadDocument, sizes: ChunkSizes) -> Iterator[_Span]:
    """Cut every stretch that is too large."""
    target, maximum = sizes.target * BYTES_PER_TOKEN, sizes.maximum * BYTES_PER_TOKEN
    stretches = _stretches(document)
    units = Units(document, [start for start, *_ in stretches], int(target / 2))
    starts, before = units.starts, units.before
    last = 0
    for _, end, heading, page in stretches:
        first, last = last, bisect_left(starts, end, last)
        if before[last] - before[first] <= maximum:
            yield starts[first], end, before[last] - before[first], heading, page
            continue
        for cut in units.cuts(first, last, target, maximum):
            yield starts[first], starts[cut], before[cut] - before[first], heading, page
            first = cut


def _stretches(document: ReadDocument) -> list[tuple[int, int, tuple[str, ...], int | None]]:
    """Cut a document at every heading and every page: ``(start, end, heading, page)``."""
    if not document.pages:
        ends = [*(start for start, _ in document.sections[1:]), len(document.text)]
        return [
            (start, end, heading, None)
            for (start, heading), end in zip(document.sections, ends, strict=True)
            if start < end
        ]
    headings = dict(document.sections)
    starts = sorted({*headings, *document.pages})
    heading: tuple[str, ...] = ()
    stretches: list[tuple[int, int, tuple[str, ...], int | None]] = []
    for start, end in zip(starts, [*starts[1:], len(document.text)], strict=True):
        heading = headings.get(start, heading)
        if start < end:
            # An empty page starts where the next one does: what is there belongs to the last of them.
            stretches.append((start, end, heading, bisect_right(document.pages, start)))
    return stretches


def _joined(document: ReadDocument, sizes: ChunkSizes) -> Iterator[_Span]:
    """Join what is too small to stand alone: the lines over a first subsection with it, a mere heading with any."""
    target, minimum = sizes.target * BYTES_PER_TOKEN, sizes.minimum * BYTES_PER_TOKEN
    trifle = sizes.trifle * BYTES_PER_TOKEN
    pages_are_apart = document.page_kind != "cell"
    last: _Span | None = None
    for span in _spans(document, sizes):
        if last is None:
            last = span
            continue
        start, _, size, heading, page = last
        _, end, more, inner, next_page = span
        # Blank lines are no chunk of their own, however large what stands beside them is.
        if (page == next_page or not pages_are_apart) and (
            not size
            or not more
            or (
                size + more <= target
                and (size < trifle or more < trifle or (size < minimum and inner[: len(heading)] == heading))
            )
        ):
            last = (start, end, size + more, _heading_of_both(size, heading, more, inner), page)
        else:
            yield last
            last = span
    if last is not None:
        yield last


def _heading_of_both(size: int, outer: tuple[str, ...], more: int, inner: tuple[str, ...]) -> tuple[str, ...]:
    """The inner one's heading, or what they have in common; the blank lines between two functions have no say."""
    if not more:
        return outer
    is_inside = inner[: len(outer)] == outer
    return inner if is_inside or not size else _common(outer, inner)


def _common(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    length = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
    return first[:length]
