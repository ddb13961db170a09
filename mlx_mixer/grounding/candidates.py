"""What the library has to say about a question, before anything is cut to size."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mlx_mixer.documents.catalogue import ChunkRow, LibraryStatus
from mlx_mixer.documents.passages import Passage
from mlx_mixer.documents.query import parse_query
from mlx_mixer.documents.scan import is_inside
from mlx_mixer.documents.search import Hit, SearchResult

CANDIDATES = 8
"""Hits that are looked at; a question whose answer is in none of them is one for a search."""

FEW_PASSAGES = 200
"""Below this the verdict of search rests on next to nothing: every word is rare, and no distance is unusual."""


class SearchableLibrary(Protocol):
    """What is needed of `mlx_mixer.documents.library.Library`."""

    def search(self, query: str, *, limit: int = 10, words_only: bool = False) -> SearchResult: ...

    def passages(self, chunk_ids: Sequence[int]) -> list[Passage]: ...

    def chunk(self, chunk_id: int, *, query: str = "") -> ChunkRow: ...

    def status(self) -> LibraryStatus: ...


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


def gather(
    library: SearchableLibrary, question: str, *, root: str | None = None, words_only: bool = False
) -> Candidates:
    """Search for a question and read the passages around the hits.

    Args:
        library: Where to look.
        question: In the user's own words; the query language of search works in it too.
        root: Only look at files at or below this path.
        words_only: Leave meaning out even with an embedder.
    """
    query = question if root is None else f"{question} {below(root)}"
    result = library.search(query, limit=CANDIDATES, words_only=words_only)
    # The filter of the query language takes a part of a path; the whole of it is what was asked for.
    inside = [hit for hit in result.hits if root is None or is_inside(os.fsencode(hit.path), os.fsencode(root))]
    # What matches by chance only takes room from what matches; alone, it is all there is to look at.
    hits = {hit.chunk_id: hit for hit in [hit for hit in inside if hit.match != "none"] or inside}
    found = [Candidate(each, _focus(each, hits[each.chunk_id])) for each in library.passages(list(hits))]
    return Candidates(question, tuple(found), _doubt(library, question, list(hits.values())))


def below(root: str) -> str:
    """The search filter for what lies below a path."""
    return 'path:"' + root.replace('"', "?") + '"'


def _focus(passage: Passage, hit: Hit) -> int:
    """The start of the line that the hit names, kept inside the core."""
    position = 0
    for _ in range(hit.line - passage.line):
        following = passage.text.find("\n", position)
        if following < 0:
            break
        position = following + 1
    return min(max(position, passage.core[0]), max(passage.core[0], passage.core[1] - 1))


def _doubt(library: SearchableLibrary, question: str, hits: Sequence[Hit]) -> str:
    if not hits:
        return "nothing in your documents matches" if library.status().documents else "there are no documents yet"
    if any(hit.match != "none" for hit in hits) or _holds_most_words(library, question, hits):
        return ""
    return "nothing in your documents matches well"


def _holds_most_words(library: SearchableLibrary, question: str, hits: Sequence[Hit]) -> bool:
    """Whether, in a library too small to tell rare words from common ones, a hit holds half of the question's."""
    terms = parse_query(question).terms
    if not terms or library.status().chunks >= FEW_PASSAGES:
        return False
    chunks = [library.chunk(hit.chunk_id, query=question) for hit in hits]
    most = max(len({chunk.text[start:end].lower() for start, end in chunk.marks}) for chunk in chunks)
    return most >= len(terms) / 2
