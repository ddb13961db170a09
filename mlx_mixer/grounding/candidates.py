"""What the library has to say about a question, before anything is cut to size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mlx_mixer.documents.passages import Passage
from mlx_mixer.documents.search import Hit, SearchResult

CANDIDATES = 8
"""Hits that are looked at; a question whose answer is in none of them is one for a search."""


class SearchableLibrary(Protocol):
    """What is needed of `mlx_mixer.documents.library.Library`."""

    def search(self, query: str, *, limit: int = 10) -> SearchResult: ...

    def passages(self, chunk_ids: Sequence[int]) -> list[Passage]: ...


@dataclass(frozen=True)
class Candidate:
    """A passage that may be sent, and the offset in its text at which the question's words begin."""

    passage: Passage
    focus: int


@dataclass(frozen=True)
class Candidates:
    """Passages for a question, best first.

    Attributes:
        question: As it was asked.
        found: What may be sent.
        doubt: Why none of it may be good enough, in one line; "" where there is no such doubt.
    """

    question: str
    found: tuple[Candidate, ...]
    doubt: str = ""


def gather(library: SearchableLibrary, question: str, *, root: str | None = None) -> Candidates:
    """Search for a question and read the passages around the hits.

    Args:
        library: Where to look.
        question: In the user's own words; the query language of search works in it too.
        root: Only look at files at or below this path.
    """
    query = question if root is None else f"{question} {in_root(root)}"
    result = library.search(query, limit=CANDIDATES)
    hits = {hit.chunk_id: hit for hit in result.hits}
    found = [Candidate(each, _focus(each, hits[each.chunk_id])) for each in library.passages(list(hits))]
    return Candidates(question, tuple(found), _doubt(result))


def in_root(root: str) -> str:
    """The search filter for what lies below a path."""
    return 'in:"' + root.replace('"', "") + '"'


def _focus(passage: Passage, hit: Hit) -> int:
    """The start of the line that the hit names, kept inside the core."""
    position = 0
    for _ in range(hit.line - passage.line):
        following = passage.text.find("\n", position)
        if following < 0:
            break
        position = following + 1
    return min(max(position, passage.core[0]), max(passage.core[0], passage.core[1] - 1))


def _doubt(result: SearchResult) -> str:
    return "" if result.hits else "nothing in your documents matches"
