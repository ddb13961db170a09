"""Cut a document into chunks that a reader would call one thing, and that the embedder takes in whole.

Chunk bodies do not overlap and leave nothing out: joined in order they are the document. Sizes are estimated from
bytes, not counted by a tokenizer, so that the cuts (and with them everything keyed by a chunk's hash) are the same
whichever model is attached, or none.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from typing import NamedTuple

from mlx_mixer.documents.structure import ReadDocument

# UTF-8 bytes per token of 8,192 SentencePiece pieces on English prose, white space around lines not counted; measured.
# Source code has 3.0, so its chunks hold a sixth more tokens than estimated.
BYTES_PER_TOKEN = 3.5


@dataclass(frozen=True)
class ChunkSizes:
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


class _Stretch(NamedTuple):
    """What lies under one heading and on one page; a chunk is cut from one, or joins several small ones."""

    start: int
    end: int
    heading: tuple[str, ...]
    page: int | None


class _Units(NamedTuple):
    """The lines of a stretch, or the pieces of long ones, as columns; cuts fall before units.

    Attributes:
        starts: Offsets of the units, and of the end.
        before: Bytes before each unit and before the end; white space around lines does not count.
        strengths: How good a place to cut each is; higher is better.
    """

    starts: list[int]
    before: list[int]
    strengths: list[float]


class _Span(NamedTuple):
    start: int
    end: int
    size: int
    heading: tuple[str, ...]
    page: int | None


def chunk_document(document: ReadDocument, sizes: ChunkSizes | None = None) -> list[Chunk]:
    """Cut `document`; every chunk lies in one section, unless sections are very small, and on one page.

    Returns:
        Chunks in order, at least one for a text that is not empty.
    """
    sizes = sizes or ChunkSizes()
    spans = [
        _Span(start, end, size, stretch.heading, stretch.page)
        for stretch in _stretches(document)
        for start, end, size in _cut(document, stretch.start, stretch.end, sizes)
    ]
    chunks, line, position = [], 1, 0
    for span in _join_small(spans, sizes, pages_are_apart=document.page_kind != "cell"):
        line += document.text.count("\n", position, span.start)
        position = span.start
        chunks.append(Chunk(span.start, span.end, line, span.heading, span.page))
    return chunks


def estimate_tokens(text: str) -> float:
    return _byte_length(text.strip()) / BYTES_PER_TOKEN


def _byte_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _stretches(document: ReadDocument) -> Iterator[_Stretch]:
    """Cut a document at every heading and every page."""
    headings = {section.start: section.heading for section in document.sections}
    starts = sorted({*headings, *document.pages})
    heading: tuple[str, ...] = ()
    for start, end in zip(starts, [*starts[1:], len(document.text)], strict=True):
        heading = headings.get(start, heading)
        if start < end:
            # An empty page starts where the next one does: what is there belongs to the last of them.
            page = bisect_right(document.pages, start) if document.pages else None
            yield _Stretch(start, end, heading, page)


def _cut(document: ReadDocument, start: int, end: int, sizes: ChunkSizes) -> Iterator[tuple[int, int, int]]:
    """Cut a stretch into ``(start, end, size in bytes)`` near the target size, at the strongest places."""
    lines = document.text[start:end].splitlines(keepends=True)
    size = _byte_length("".join(map(str.strip, lines)))
    target, maximum = sizes.target * BYTES_PER_TOKEN, sizes.maximum * BYTES_PER_TOKEN
    if size <= maximum:
        yield start, end, size
        return
    starts, before, strengths = _units(document, start, lines, int(target / 2))
    first = 0
    while before[-1] - before[first] > maximum:
        # At least half the target and at most the maximum lies before the cut.
        lowest = max(first + 1, bisect_left(before, before[first] + target / 2, first))
        highest = bisect_right(before, before[first] + maximum, first)
        best, best_value, ideal = first + 1, -1.0, before[first] + target
        for index in range(lowest, highest):
            if strengths[index] <= best_value:  # its value is no higher
                continue
            distance = (ideal - before[index]) / target
            value = strengths[index] * (1 - 0.7 * distance * distance) - abs(distance) * 1e-3
            if value > best_value:
                best, best_value = index, value
        yield starts[first], starts[best], before[best] - before[first]
        first = best
    yield starts[first], end, before[-1] - before[first]


def _units(document: ReadDocument, start: int, lines: list[str], largest: int) -> _Units:
    """Take lines as they are, long ones in sentences, words, or characters at worst, of `largest` bytes."""
    lines, inner = _with_long_lines_cut(lines, largest)
    words = list(map(str.strip, lines))
    starts = list(accumulate(map(len, lines), initial=start))
    lengths = map(len if document.text.isascii() else _byte_length, words)
    before = list(accumulate(lengths, initial=0))
    # Best after a blank line and without indentation, never before a blank line or inside a block.
    strengths = [
        (5.0 if above else 24.0) - min(len(line) - len(line.lstrip()), 16) / 4 if here else 0.1
        for above, here, line in zip(["", *words], words, lines, strict=False)
    ]
    for index in inner:
        strengths[index] = 2.0
    for block_start, block_end in document.blocks[bisect_right(document.blocks, start, key=itemgetter(1)) :]:
        if block_start >= starts[-1]:
            break
        for index in range(bisect_right(starts, block_start), bisect_left(starts, block_end, hi=len(strengths))):
            strengths[index] = 0.0
    return _Units(starts, before, strengths)


def _with_long_lines_cut(lines: list[str], largest: int) -> tuple[list[str], list[int]]:
    """Return lines and pieces of lines, and the indices of the pieces that do not start a line."""
    # No character takes more than four bytes.
    if max(map(len, lines)) <= largest / 4 or (max(map(len, lines)) <= largest and all(map(str.isascii, lines))):
        return lines, []
    units: list[str] = []
    inner: list[int] = []
    for line in lines:
        pieces = [line] if len(line) <= largest and _byte_length(line.strip()) <= largest else _pieces(line, largest)
        first = len(units)
        units.extend(pieces)
        inner.extend(range(first + 1, len(units)))
    return units, inner


_SENTENCE_END = re.compile(r"[.!?…。！？][\"')\]]*\s+|[。！？]")
_SPACE = re.compile(r"\s+")


def _pieces(line: str, limit: int) -> Iterator[str]:
    """Cut a line into pieces of at most `limit` bytes, at the last good place before that."""
    start = 0
    while start < len(line):
        head = line[start : start + limit]
        if (size := _byte_length(head)) > limit:
            head = head[: max(1, limit * len(head) // size)]
        cut = len(head)
        if start + cut < len(line):
            ends = [match.end() for match in _SENTENCE_END.finditer(head, cut // 3)]
            ends = ends or [match.end() for match in _SPACE.finditer(head, cut // 3)]
            cut = ends[-1] if ends else cut
        yield head[:cut]
        start += cut


def _join_small(spans: list[_Span], sizes: ChunkSizes, *, pages_are_apart: bool) -> list[_Span]:
    """Join what is too small to stand alone: the lines over a first subsection with it, a mere heading with any."""
    joined: list[_Span] = []
    for span in spans:
        last = joined[-1] if joined else None
        if (
            last
            and last.size + span.size <= sizes.target * BYTES_PER_TOKEN
            and (last.page == span.page or not pages_are_apart)
            and _belong_together(last, span, sizes)
        ):
            heading = _heading_of_both(last, span)
            joined[-1] = _Span(last.start, span.end, last.size + span.size, heading, last.page)
        else:
            joined.append(span)
    return joined


def _heading_of_both(first: _Span, second: _Span) -> tuple[str, ...]:
    """The inner one's heading, or what they have in common; the blank lines between two functions have no say."""
    if not second.size:
        return first.heading
    is_inside = second.heading[: len(first.heading)] == first.heading
    return second.heading if is_inside or not first.size else _common(first.heading, second.heading)


def _belong_together(first: _Span, second: _Span, sizes: ChunkSizes) -> bool:
    if min(first.size, second.size) < sizes.trifle * BYTES_PER_TOKEN:
        return True
    return first.size < sizes.minimum * BYTES_PER_TOKEN and second.heading[: len(first.heading)] == first.heading


def _common(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    length = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
    return first[:length]
