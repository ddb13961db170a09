"""Cut a document into chunks that a reader would call one thing, and that the embedder takes in whole.

Chunk bodies do not overlap and leave nothing out: joined in order they are the document. Sizes are estimated from
bytes, not counted by a tokenizer, so that the cuts (and with them everything keyed by a chunk's hash) are the same
whichever model is attached, or none.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
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
    """``text[start:end]`` of a document; `line` counts from 1."""

    start: int
    end: int
    line: int
    heading: tuple[str, ...]


class _Unit(NamedTuple):
    """A line, or a piece of a long one; cuts fall before units. A higher `strength` is a better place to cut."""

    start: int
    end: int
    size: float
    strength: float


class _Span(NamedTuple):
    start: int
    end: int
    size: float
    heading: tuple[str, ...]


def chunk_document(document: ReadDocument, sizes: ChunkSizes | None = None) -> list[Chunk]:
    """Cut `document`; every chunk lies in one section unless sections are very small.

    Returns:
        Chunks in order, at least one for a text that is not empty.
    """
    sizes = sizes or ChunkSizes()
    spans: list[_Span] = []
    ends = [section.start for section in document.sections[1:]] + [len(document.text)]
    for section, end in zip(document.sections, ends, strict=True):
        units = list(_units(document, section.start, end, sizes.target / 2))
        for run in _cut(units, sizes):
            spans.append(_Span(run[0].start, run[-1].end, sum(unit.size for unit in run), section.heading))
    chunks, line, position = [], 1, 0
    for span in _join_small(spans, sizes):
        line += document.text.count("\n", position, span.start)
        position = span.start
        chunks.append(Chunk(span.start, span.end, line, span.heading))
    return chunks


def estimate_tokens(text: str) -> float:
    return _byte_length(text.strip()) / BYTES_PER_TOKEN


def _byte_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _units(document: ReadDocument, start: int, end: int, largest: float) -> Iterator[_Unit]:
    """Cut ``text[start:end]`` into lines, and long lines into sentences, words, or characters at worst."""
    blocks = iter(document.blocks)
    block_start, block_end = next(blocks, (end, end))
    after_blank = True
    for line in document.text[start:end].splitlines(keepends=True):
        while block_end <= start:
            block_start, block_end = next(blocks, (end, end + 1))
        whole = block_start < start
        strength = 0.0 if whole else _strength(line, after_blank)
        for piece in _pieces(line, largest) if len(line) > largest else (line,):
            yield _Unit(start, start + len(piece), estimate_tokens(piece), strength)
            start += len(piece)
            strength = 0.0 if whole else 2.0
        after_blank = line.isspace()


def _strength(line: str, after_blank: bool) -> float:
    """Rate a cut before this line: best after a blank line and without indentation, never before a blank line."""
    stripped = line.lstrip()
    if not stripped:
        return 0.1
    indentation = min(len(line) - len(stripped), 16)
    return (20.0 if after_blank else 1.0) + (16 - indentation) / 4


_SENTENCE_END = re.compile(r"[.!?…。！？][\"')\]]*\s+|[。！？]")
_SPACE = re.compile(r"\s+")


def _pieces(line: str, largest: float) -> Iterator[str]:
    """Cut a line into pieces of at most `largest` tokens, at the last good place before that."""
    limit = int(largest * BYTES_PER_TOKEN)
    start = 0
    while start < len(line):
        head = line[start : start + limit]
        if _byte_length(head) > limit:
            head = head[: max(1, limit * len(head) // _byte_length(head))]
        cut = len(head)
        if start + cut < len(line):
            ends = [match.end() for match in _SENTENCE_END.finditer(head, cut // 3)]
            ends = ends or [match.end() for match in _SPACE.finditer(head, cut // 3)]
            cut = ends[-1] if ends else cut
        yield head[:cut]
        start += cut


def _cut(units: list[_Unit], sizes: ChunkSizes) -> Iterator[list[_Unit]]:
    """Cut one section's units into runs near the target size, at the strongest places."""
    remaining = sum(unit.size for unit in units)
    first = 0
    while remaining > sizes.maximum:
        size, best, best_value = 0.0, first + 1, -1.0
        for index in range(first, len(units)):
            if size >= sizes.target / 2:
                distance = (sizes.target - size) / sizes.target
                value = units[index].strength * (1 - 0.7 * distance * distance) - abs(distance) * 1e-3
                if value > best_value:
                    best, best_value = index, value
            size += units[index].size
            if size > sizes.maximum:
                break
        yield units[first:best]
        remaining -= sum(unit.size for unit in units[first:best])
        first = best
    if units[first:]:
        yield units[first:]


def _join_small(spans: list[_Span], sizes: ChunkSizes) -> list[_Span]:
    """Join what is too small to stand alone: the lines over a first subsection with it, a mere heading with any."""
    joined: list[_Span] = []
    for span in spans:
        last = joined[-1] if joined else None
        if last and last.size + span.size <= sizes.target and _belong_together(last, span, sizes):
            is_inside = span.heading[: len(last.heading)] == last.heading
            heading = span.heading if is_inside else _common(last.heading, span.heading)
            joined[-1] = _Span(last.start, span.end, last.size + span.size, heading)
        else:
            joined.append(span)
    return joined


def _belong_together(first: _Span, second: _Span, sizes: ChunkSizes) -> bool:
    if min(first.size, second.size) < sizes.trifle:
        return True
    return first.size < sizes.minimum and second.heading[: len(first.heading)] == first.heading


def _common(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    length = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
    return first[:length]
