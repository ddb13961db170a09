"""Texts without what their looks add: case and white space."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_WORD = re.compile(r"\S+")


def fold(text: str) -> str:
    """Lower-case a text and make one space of every run of white space: how it looks says little about what it means.

    Pieces of "Memory Management", of "MEMORY" at a line's start and of "memory management" have nothing in common
    otherwise, which costs a small embedder more than half of its hits on headings.
    """
    return " ".join(text.lower().split())


@dataclass(frozen=True)
class Folded:
    """A folded text and where its characters come from.

    Attributes:
        text: What `fold` gives.
        starts: For each character of it, where what it stands for begins in the original.
        ends: Where that ends.
    """

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The characters of the original that `start` to `end` of the folded text stand for."""
        if start >= end:
            return (self.ends[start - 1],) * 2 if start else (0, 0)
        return self.starts[start], self.ends[end - 1]


def fold_with_origins(text: str) -> Folded:
    """Fold a text and keep where every character comes from.

    Lower-casing may lengthen a character ("İ" becomes two), and a space may stand for a run of white space.
    """
    lowered = text.lower()
    # Whatever surrounds a character, its lower case has the same length as alone.
    origins = [index for index, character in enumerate(text) for _ in character.lower()]
    assert len(origins) == len(lowered)
    starts: list[int] = []
    ends: list[int] = []
    for word in _WORD.finditer(lowered):
        places = origins[word.start() : word.end()]
        if ends:
            starts.append(ends[-1])
            ends.append(places[0])
        starts += places
        ends += [place + 1 for place in places]
    return Folded(" ".join(_WORD.findall(lowered)), starts, ends)
