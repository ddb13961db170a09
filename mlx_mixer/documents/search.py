"""A query in, hits out: both legs, their fusion, and what is shown of each hit."""

import os
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np
from sqlite_utils import Database

from mlx_mixer.documents import lexical
from mlx_mixer.documents.fusion import Floats, FusionWeights, fuse
from mlx_mixer.documents.lexical import Spans
from mlx_mixer.documents.query import Query
from mlx_mixer.documents.snippet import make_snippet
from mlx_mixer.documents.vectors import Meaning, VectorIndex

CANDIDATES_PER_LEG = 100
MAX_HITS_PER_FILE = 3
# A passage that shares no word with the query is shown from this cosine on. Half of what is right lies above 0.4, the
# best of what is beside the point around 0.3.
MEANING_FLOOR = 0.25
_NAMED_FILES = 20
_MIN_NAME_COVERAGE = 0.5
_WORDS_IN_WHY = 5

Place = tuple[int, int]  # content, seq


@dataclass(frozen=True)
class Hit:
    """One found place.

    Attributes:
        path: The file, as the system names it (may hold surrogates: show it through `safe_text`).
        line: Line of the best match, counted from 1.
        heading: Headings the place lies under, joined with " › "; may be empty.
        snippet: Text around the match on one line.
        marks: Character spans of the matching words in `snippet`.
        score: From 0 to a little over 1, higher is better; comparable within one search only.
        why: What matched, in one short line.
        chunk_id: For `Library.chunk`.
    """

    path: str
    line: int
    heading: str
    snippet: str
    marks: Spans
    score: float
    why: str
    chunk_id: int


@dataclass(frozen=True)
class SearchResult:
    """Hits, best first.

    Attributes:
        hits: At most as many as asked for.
        by_meaning: Whether the embedder took part.
        seconds: How long the search took.
    """

    hits: tuple[Hit, ...]
    by_meaning: bool
    seconds: float


@dataclass(frozen=True)
class Candidate:
    """A chunk on the way to a hit; `cosine` is None where meaning took no part."""

    place: Place
    bm25: float
    cosine: float | None
    name: float
    score: float


def search(
    db: Database,
    query: Query,
    *,
    limit: int,
    meaning: Meaning | None = None,
    weights: FusionWeights | None = None,
) -> SearchResult:
    """Search by words, and by meaning where an embedder is attached."""
    started = time.perf_counter()
    if query.is_empty or limit < 1:
        return SearchResult((), False, 0.0)
    ranked = rank(
        db,
        query,
        meaning=meaning,
        weights=weights or FusionWeights(),
        candidates=max(limit, CANDIDATES_PER_LEG),
    )
    hits = _hits(db, query, ranked, limit)
    by_meaning = any(candidate.cosine is not None for candidate in ranked)
    return SearchResult(tuple(hits), by_meaning, time.perf_counter() - started)


def rank(
    db: Database,
    query: Query,
    *,
    meaning: Meaning | None,
    weights: FusionWeights,
    candidates: int = CANDIDATES_PER_LEG,
) -> list[Candidate]:
    """Gather the candidates of every leg and order them by their fused score."""
    matches = lexical.search_words(db, query, candidates)
    names = lexical.name_coverage(db, query)
    bm25 = {(match.content, match.seq): match.bm25 for match in matches}
    near = _Neighbourhood(db, query, meaning)
    places = dict.fromkeys(bm25)
    if not query.phrases:  # what must occur is settled by the words leg
        excluded = lexical.excluded_places(db, query)
        others = [*_named_places(names), *near.places(candidates)]
        places.update(dict.fromkeys(place for place in others if place not in excluded))
    ordered = list(places)
    words = np.array([bm25.get(place, 0.0) for place in ordered])
    shares = np.array([names.get(content, 0.0) for content, _ in ordered])
    cosines = near.cosines(ordered)
    weight = weights.for_query(is_exact=query.is_exact, coverage=lexical.word_coverage(db, query, matches))
    scores = fuse(words, cosines, shares, meaning=weight, name=weights.name)
    known = [None] * len(ordered) if cosines is None else [None if np.isnan(c) else float(c) for c in cosines]
    order = [i for i in np.argsort(-scores, kind="stable") if scores[i] > 0]
    return [Candidate(ordered[i], words[i], known[i], shares[i], float(scores[i])) for i in order]


class _Neighbourhood:
    """What lies near a query by meaning; nothing where there is no embedder or nothing is embedded."""

    def __init__(self, db: Database, query: Query, meaning: Meaning | None) -> None:
        self._db = db
        self._index: VectorIndex | None = None
        if meaning is None:
            return
        meaning.index.refresh(db)
        if len(meaning.index) > 0:
            self._index = meaning.index
            self._vector = meaning.embedder.embed([query.text], "query")[0]

    def places(self, limit: int) -> list[Place]:
        if self._index is None:
            return []
        hidden = [row[0] for row in self._db.execute("SELECT id FROM contents WHERE unreferenced_since IS NOT NULL")]
        found = self._index.search(self._vector, limit, hidden=hidden)
        return [(content, seq) for content, seq, cosine in found if cosine >= MEANING_FLOOR]

    def cosines(self, places: list[Place]) -> Floats | None:
        return None if self._index is None else self._index.cosines(self._vector, places)


def _named_places(names: dict[int, float]) -> list[Place]:
    """The beginnings of the files whose names hold the most of the query."""
    best = sorted((content for content in names if names[content] >= _MIN_NAME_COVERAGE), key=lambda c: -names[c])
    return [(content, 0) for content in best[:_NAMED_FILES]]


def _hits(db: Database, query: Query, ranked: list[Candidate], limit: int) -> list[Hit]:
    """Describe the best candidates whose file is there, a few of each file at most."""
    hits: list[Hit] = []
    paths: dict[int, str | None] = {}
    shown: Counter[int] = Counter()
    for candidate in ranked:
        content = candidate.place[0]
        if content not in paths:
            paths[content] = _visible_path(db, content)
        path = paths[content]
        if path is None or shown[content] == MAX_HITS_PER_FILE:
            continue
        hit = _describe(db, query, candidate, path)
        if hit is None:
            continue
        shown[content] += 1
        hits.append(hit)
        if len(hits) == limit:
            break
    return hits


def _visible_path(db: Database, content: int) -> str | None:
    """The first path of a content at which there is still a file."""
    rows = db.execute("SELECT path FROM files WHERE content = ? AND missing_since IS NULL ORDER BY path", [content])
    return next((os.fsdecode(path) for (path,) in rows if os.path.lexists(path)), None)


def _describe(db: Database, query: Query, candidate: Candidate, path: str) -> Hit | None:
    row = db.execute(
        "SELECT id, line, heading, body FROM chunks WHERE content = ? AND seq = ?", candidate.place
    ).fetchone()
    if row is None:  # removed by another process since it was ranked
        return None
    chunk, line, heading, body = row
    matches = lexical.matches_in(db, query, chunk)
    snippet = make_snippet(body, matches.spans)
    return Hit(
        path=path,
        line=line + body.count("\n", 0, snippet.start),
        heading=heading,
        snippet=snippet.text,
        marks=snippet.marks,
        score=candidate.score,
        why=_why(matches.words, candidate),
        chunk_id=chunk,
    )


def _why(words: tuple[str, ...], candidate: Candidate) -> str:
    reasons = []
    if words:
        reasons.append("words: " + ", ".join(words[:_WORDS_IN_WHY]))
    if candidate.name:
        reasons.append("file name")
    if candidate.cosine is not None:
        reasons.append(f"meaning {max(candidate.cosine, 0.0):.2f}")
    return " · ".join(reasons)
