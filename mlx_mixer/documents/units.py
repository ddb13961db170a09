"""The lines of a document, and the pieces of very long ones: where a text can be cut, and how well."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, compress
from operator import not_

from mlx_mixer.documents.structure import ReadDocument

_SENTENCE_END = re.compile(r"[.!?…。！？][\"')\]]*\s+|[。！？]")
_SPACE = re.compile(r"\s+")
# How good a place to cut the start of a unit is. Indentation takes up to four from the first two.
_AFTER_BLANK_LINE = 24.0
_LINE = 5.0
_PIECE = 2.0
_BLANK_LINE = 0.1
_INSIDE_BLOCK = 0.0


class Units:
    """A document's units as columns; cuts fall before units.

    Args:
        document: The text, and the blocks in it that should stay whole.
        edges: Offsets at which a unit must start.
        largest: Bytes that no unit exceeds; longer lines fall into sentences, words, or characters at worst.

    Attributes:
        starts: Offsets of the units, and of the end.
        before: Bytes before each unit and before the end; white space around units does not count.
    """

    def __init__(self, document: ReadDocument, edges: Sequence[int], largest: int) -> None:
        text = document.text
        lines = text.splitlines(keepends=True)
        if any(edge and text[edge - 1] != "\n" for edge in edges):
            parts = zip([0, *edges], [*edges, len(text)], strict=True)
            lines = [line for start, end in parts for line in text[start:end].splitlines(keepends=True)]
        is_ascii = text.isascii()
        lengths = list(map(len, lines))
        inner: list[int] = []
        # No character takes more than four bytes.
        if max(lengths, default=0) > (largest if is_ascii else largest / 4):
            lines, inner = _with_long_lines_cut(lines, largest)
            lengths = list(map(len, lines))
        self._lines = lines
        self.starts = list(accumulate(lengths, initial=0))
        self._sizes = sizes = list(map(len if is_ascii else byte_length, map(str.strip, lines)))
        self.before = list(accumulate(sizes, initial=0))
        self._blank = list(compress(range(len(sizes)), map(not_, sizes)))
        # Strengths that are not those of a line.
        self._strengths = dict.fromkeys(inner, _PIECE)
        for start, end in document.blocks:
            inside = range(bisect_right(self.starts, start), bisect_left(self.starts, end, hi=len(lines)))
            self._strengths.update(dict.fromkeys(inside, _INSIDE_BLOCK))

    def cuts(self, first: int, last: int, target: float, maximum: float) -> Iterator[int]:
        """Cut the units from `first` to before `last` near the target size in bytes, at the strongest places.

        Yields:
            The units before which to cut, `last` included.
        """
        before, blank = self.before, self._blank
        while before[last] - before[first] > maximum:
            # At least half the target and at most the maximum lies before the cut.
            size = before[first]
            lowest = max(first + 1, bisect_left(before, size + target / 2, first, last + 1))
            highest = bisect_right(before, size + maximum, first, last + 1)
            above = blank[bisect_left(blank, lowest - 1) : bisect_left(blank, highest - 1)]
            best, value = self._best([index + 1 for index in above], size, target)
            if value <= _LINE:  # otherwise no place but after a blank line can be as good
                best, value = self._best(range(lowest, highest), size, target)
            first = best or first + 1
            yield first
        yield last

    def _best(self, candidates: Iterable[int], size: int, target: float) -> tuple[int, float]:
        """Return the unit before which to cut best and how good that is, or (0, -1); `size` bytes lie before."""
        before, lines, sizes, strengths = self.before, self._lines, self._sizes, self._strengths
        best, best_value, ideal = 0, -1.0, size + target
        for index in candidates:
            if strengths and index in strengths:
                strength = strengths[index]
            elif not sizes[index]:
                strength = _BLANK_LINE
            else:
                strength = _LINE if sizes[index - 1] else _AFTER_BLANK_LINE
                if strength > best_value:
                    line = lines[index]
                    strength -= min(len(line) - len(line.lstrip()), 16) / 4
            if strength > best_value:  # otherwise its value is no higher
                distance = (ideal - before[index]) / target
                value = strength * (1 - 0.7 * distance * distance) - abs(distance) * 1e-3
                if value > best_value:
                    best, best_value = index, value
        return best, best_value


def byte_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _with_long_lines_cut(lines: list[str], largest: int) -> tuple[list[str], list[int]]:
    """Return lines and pieces of lines, and the indices of the pieces that do not start a line."""
    units: list[str] = []
    inner: list[int] = []
    for line in lines:
        if len(line) <= largest / 4 or (len(line) <= largest and byte_length(line.strip()) <= largest):
            units.append(line)
        else:
            first = len(units)
            units.extend(pieces(line, largest))
            inner.extend(range(first + 1, len(units)))
    return units, inner


def pieces(line: str, limit: int) -> Iterator[str]:
    """Cut a line into pieces of at most `limit` bytes, at the last good place before that."""
    start = 0
    while start < len(line):
        head = line[start : start + limit]
        if (size := byte_length(head)) > limit:
            head = head[: max(1, limit * len(head) // size)]
        cut = len(head)
        if start + cut < len(line):
            ends = [match.end() for match in _SENTENCE_END.finditer(head, cut // 3)]
            ends = ends or [match.end() for match in _SPACE.finditer(head, cut // 3)]
            cut = ends[-1] if ends else cut
        yield head[:cut]
        start += cut
