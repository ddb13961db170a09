"""What a query may mean, from every leg, each chunk with the exact score of every leg."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, Self

import numpy as np

from mlx_mixer.documents import lexical
from mlx_mixer.documents.close_up import CloseUp
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.frequency import TermCounts
from mlx_mixer.documents.fusion import Floats
from mlx_mixer.documents.lexical import Place
from mlx_mixer.documents.query import Query
from mlx_mixer.documents.vectors import Floats as Vector
from mlx_mixer.documents.vectors import Meaning, Null, VectorIndex
from mlx_mixer.job_thread import JobThread

CANDIDATES_PER_LEG = 100
# A passage that shares no word with the query is shown from this cosine on. Half of what is right lies above 0.4, the
# best of what is beside the point around 0.3.
MEANING_FLOOR = 0.25
_NAMED_FILES = 20
_MIN_NAME_COVERAGE = 0.5


@dataclass(frozen=True)
class Candidates:
    """Chunks that may be what is looked for.

    Attributes:
        places: Where they are, each once.
        bm25: (N,) not negative; 0 for a chunk that holds none of the words.
        cosines: (N,) exact; NaN without a vector. None where meaning took no part.
        names: (N,) share of the query's words in the name of the chunk's file.
        coverage: The largest share of the query's words that one of the best hits holds.
        null: How near the query is to passages at large; None where meaning took no part.
    """

    places: list[Place]
    bm25: Floats
    cosines: Floats | None
    names: Floats
    coverage: float
    null: Null | None


class Neighbourhood:
    """What lies near a vector by meaning; nothing where there is no embedder or nothing is embedded.

    Args:
        db: The library.
        meaning: An embedder and its vectors, or None.
        query: The query; it is embedded only where there are vectors to compare with, while words are looked for.
    """

    def __init__(self, db: Database, query: Query, meaning: Meaning | None) -> None:
        self.db = db
        self.index: VectorIndex | None = None
        self._vector: Callable[[], Vector] | None = None
        if meaning is None or not query.text:
            return
        meaning.index.refresh(db)
        if len(meaning.index) > 0:
            self.index = meaning.index
            embed = meaning.embedder.embed
            self._vector = _embedding().submit(lambda: embed([query.text], "query")[0]).result

    @classmethod
    def around(cls, db: Database, index: VectorIndex, vector: Vector) -> Self:
        """What lies near a vector that is there already."""
        near = cls(db, Query(""), None)
        near.index, near._vector = index, lambda: vector
        return near

    @property
    def vector(self) -> Vector | None:
        """The vector; the first to ask waits until the query is embedded."""
        return None if self._vector is None else self._vector()

    def places(self, scope: "Scope", limit: int) -> list[Place]:
        if self.index is None or (vector := self.vector) is None:
            return []
        return [place for place, _ in nearest(self.index, vector, scope, limit)]

    def cosines(self, places: list[Place]) -> Floats | None:
        return None if self.index is None or (vector := self.vector) is None else self.index.cosines(vector, places)

    def null(self) -> Null | None:
        return None if self.index is None or (vector := self.vector) is None else self.index.null(vector)


@cache
def _embedding() -> JobThread:
    """The thread that embeds queries, for as long as the process lasts.

    An executor would not do: MLX keeps a stream, and threads of its own, for every thread that has computed, and a
    process in which such a thread has ended is now and then aborted at its exit (MLX 0.32).
    """
    thread = JobThread("query-embedding")
    thread.start()
    return thread


class Scope(NamedTuple):
    """Which contents a search looks at: all but the hidden, or these only."""

    hidden: list[int]
    only: list[int] | None


def scope_of(db: Database, query: Query) -> Scope:
    """The contents of files that pass the query's filters."""
    if query.filters.is_empty:
        return Scope(
            [row[0] for row in db.execute("SELECT id FROM contents WHERE unreferenced_since IS NOT NULL")], None
        )
    condition, parameters = query.filters.condition()
    rows = db.execute(f"SELECT f.content FROM files f WHERE {lexical.VISIBLE} AND {condition}", parameters)
    return Scope([], [row[0] for row in rows])


def nearest(index: VectorIndex, vector: Vector, scope: Scope, limit: int) -> list[tuple[Place, float]]:
    """Return places and cosines of what lies nearest a vector, and not below `MEANING_FLOOR`; no database is asked."""
    found = index.search(vector, limit, hidden=scope.hidden, only=scope.only)
    return [((content, seq), cosine) for content, seq, cosine in found if cosine >= MEANING_FLOOR]


def gather(
    db: Database,
    query: Query,
    near: Neighbourhood,
    *,
    counts: TermCounts,
    close_up: CloseUp,
    limit: int = CANDIDATES_PER_LEG,
) -> Candidates:
    """Gather the candidates of every leg; filters hold before the best of each are taken.

    Args:
        db: The library.
        query: A query that is not empty.
        near: What lies near it.
        counts: See `lexical.search_words`.
        close_up: Takes in the best by words.
        limit: How many candidates of each leg.
    """
    # The legs side by side: one computes while the other waits for SQLite, which ranks in this thread.
    with ThreadPoolExecutor(max_workers=1) as other:
        meant = chance = None
        if near.index is not None:
            chance = other.submit(near.null)
            if not query.phrases:  # what must occur is settled by the words leg
                meant = other.submit(near.places, scope_of(db, query), limit)
        matches = lexical.search_words(db, query, limit, counts=counts)
        names = lexical.name_coverage(db, query)
    bm25 = {(match.content, match.seq): match.bm25 for match in matches}
    places = dict.fromkeys(bm25)
    if not query.phrases:
        by_meaning = [] if meant is None else meant.result()
        others = [place for place in (*_named_places(names), *by_meaning) if place not in places]
        places.update(dict.fromkeys(lexical.without_excluded(db, query, others)))
    ordered = list(places)
    return Candidates(
        places=ordered,
        bm25=np.array([bm25.get(place, 0.0) for place in ordered]),
        cosines=near.cosines(ordered),
        names=np.array([names.get(content, 0.0) for content, _ in ordered]),
        coverage=lexical.word_coverage(close_up, query, matches),
        null=None if chance is None else chance.result(),
    )


def _named_places(names: dict[int, float]) -> list[Place]:
    """The beginnings of the files whose names hold the most of the query."""
    best = sorted((content for content in names if names[content] >= _MIN_NAME_COVERAGE), key=lambda c: -names[c])
    return [(content, 0) for content in best[:_NAMED_FILES]]
