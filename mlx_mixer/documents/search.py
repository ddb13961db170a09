"""A query in, hits out: both legs, their fusion, and what is shown of each hit."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from sqlite_utils import Database

from mlx_mixer.documents import lexical
from mlx_mixer.documents.boosts import NO_BOOSTS, BoostWeights, ChunkText, boosted
from mlx_mixer.documents.calibration import Calibration, Match, best_of, distance_from_chance
from mlx_mixer.documents.candidates import CANDIDATES_PER_LEG, Candidates, Neighbourhood, gather
from mlx_mixer.documents.frequency import TermCounts
from mlx_mixer.documents.fusion import FusionWeights, fuse
from mlx_mixer.documents.highlight import Explaining, meaning_spans
from mlx_mixer.documents.lexical import Place, Spans
from mlx_mixer.documents.query import Query
from mlx_mixer.documents.similar import similar_places, vector_of
from mlx_mixer.documents.snippet import make_snippet
from mlx_mixer.documents.vectors import Floats as Vector
from mlx_mixer.documents.vectors import Meaning, Null

MAX_HITS_PER_FILE = 3
MAX_FURTHER_PLACES = 3
BOOSTED = 50
_WORDS_IN_WHY = 5


@dataclass(frozen=True)
class FurtherPlace:
    """Another place in the file of a hit.

    Attributes:
        line: Line of the best match, counted from 1.
        page: Its page, counted from 1; None where the format has none.
        heading: Headings it lies under, joined with " › ".
        score: As that of a hit.
        chunk_id: For `Library.chunk`.
    """

    line: int
    page: int | None
    heading: str
    score: float
    chunk_id: int


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
        page: Its page, counted from 1; None where the format has none.
        match: How good it is, on a scale that is the same for all searches.
        meaning_marks: Spans of words in `snippet` that lie near the query in meaning; none overlaps `marks`.
        places: Further places in the same file, best first; only where hits are grouped.
    """

    path: str
    line: int
    heading: str
    snippet: str
    marks: Spans
    score: float
    why: str
    chunk_id: int
    page: int | None = None
    match: Match = "weak"
    meaning_marks: Spans = ()
    places: tuple[FurtherPlace, ...] = ()


@dataclass(frozen=True)
class SearchResult:
    """Hits, best first.

    Attributes:
        hits: At most as many as asked for.
        by_meaning: Whether the embedder took part.
        seconds: How long the search took.
        match: That of the best hit: "none" says that nothing good matches, whatever `hits` holds.
        notes: What of the query could not be taken as it was meant, one line each.
    """

    hits: tuple[Hit, ...]
    by_meaning: bool
    seconds: float
    match: Match = "none"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """A chunk on the way to a hit; `cosine` is None where meaning took no part."""

    place: Place
    bm25: float
    cosine: float | None
    name: float
    score: float


@dataclass(frozen=True)
class Settings:
    """What a search is tuned by.

    Attributes:
        weights: Of the legs.
        boosts: Of kinds of places.
        calibration: Of the words strong, weak and none.
        grouped: One hit for each file, with its further places.
        highlight: Mark words that are near in meaning (takes about a millisecond for each hit).
    """

    weights: FusionWeights = field(default_factory=FusionWeights)
    boosts: BoostWeights = field(default_factory=BoostWeights)
    calibration: Calibration = field(default_factory=Calibration)
    grouped: bool = False
    highlight: bool = False


Reorder = Callable[[list[Candidate], Neighbourhood], list[Candidate]]


def search(
    db: Database,
    query: Query,
    *,
    limit: int,
    meaning: Meaning | None = None,
    settings: Settings | None = None,
    counts: TermCounts | None = None,
    reorder: Reorder | None = None,
) -> SearchResult:
    """Search by words, and by meaning where an embedder is attached.

    Args:
        db: The library.
        query: What is looked for, and where.
        limit: How many hits at most.
        meaning: An embedder and its vectors.
        settings: How to rank and what to show.
        counts: Numbers of chunks by word, kept from search to search.
        reorder: Puts the ranked candidates into another order, best first.
    """
    started = time.perf_counter()
    settings, counts = settings or Settings(), counts or TermCounts()
    if query.is_empty or limit < 1:
        return SearchResult((), False, 0.0, notes=query.notes)
    near = Neighbourhood(db, query, meaning)
    found = gather(db, query, near, counts=counts, limit=max(limit, CANDIDATES_PER_LEG))
    ranked = ordered(db, query, found, settings)
    if reorder is not None:
        ranked = reorder(ranked, near)
    teller = _Teller(db, query, settings, counts, near, found.null, meaning)
    hits = teller.hits(ranked, limit)
    by_meaning = any(candidate.cosine is not None for candidate in ranked)
    seconds = time.perf_counter() - started
    return SearchResult(tuple(hits), by_meaning, seconds, best_of([hit.match for hit in hits]), query.notes)


def search_similar(
    db: Database, place: Place, meaning: Meaning, *, limit: int, query: Query, settings: Settings
) -> SearchResult:
    """Find what lies near a stored passage; only the filters of `query` count.

    Raises:
        LibraryError: If the passage has no vector.
    """
    started = time.perf_counter()
    meaning.index.refresh(db)
    found = similar_places(db, meaning.index, place, query)
    ranked = [Candidate(where, 0.0, cosine, 0.0, cosine) for where, cosine in found]
    vector = vector_of(meaning.index, place)
    near = Neighbourhood.around(db, meaning.index, vector)
    teller = _Teller(db, query, settings, TermCounts(), near, near.null(), meaning)
    hits = teller.hits(ranked, limit)
    matches = [hit.match for hit in hits]
    return SearchResult(tuple(hits), True, time.perf_counter() - started, best_of(matches), query.notes)


def rank(
    db: Database,
    query: Query,
    *,
    meaning: Meaning | None,
    weights: FusionWeights,
    candidates: int = CANDIDATES_PER_LEG,
) -> list[Candidate]:
    """Gather the candidates of every leg and order them by their fused score, without boosts."""
    found = gather(db, query, Neighbourhood(db, query, meaning), counts=TermCounts(), limit=candidates)
    return ordered(db, query, found, Settings(weights=weights, boosts=NO_BOOSTS))


def ordered(db: Database, query: Query, found: Candidates, settings: Settings) -> list[Candidate]:
    """Give every candidate its score and return those above 0, best first."""
    weights = settings.weights
    weight = weights.for_query(is_exact=query.is_exact, coverage=found.coverage)
    scores = fuse(found.bm25, found.cosines, found.names, meaning=weight, name=weights.name)
    order = [int(i) for i in np.argsort(-scores, kind="stable") if scores[i] > 0]
    head = order[:BOOSTED]
    if head and settings.boosts.has_any:
        places = [found.places[i] for i in head]
        scores[head] = boosted(scores[head], places, chunk_texts(db, places), query, settings.boosts)
        order = sorted(head, key=lambda i: -scores[i]) + order[BOOSTED:]
    cosines = found.cosines
    known = [None] * len(scores) if cosines is None else [None if np.isnan(c) else float(c) for c in cosines]
    return [
        Candidate(found.places[i], float(found.bm25[i]), known[i], float(found.names[i]), float(scores[i]))
        for i in order
    ]


def chunk_texts(db: Database, places: Sequence[Place]) -> list[ChunkText]:
    """Read the texts of some chunks; empty ones for those that are not there any more."""
    texts = []
    for place in places:
        row = db.execute(
            "SELECT h.heading, h.body, (SELECT path FROM files f WHERE f.content = h.content LIMIT 1)"
            " FROM chunks h WHERE h.content = ? AND h.seq = ?",
            place,
        ).fetchone()
        texts.append(ChunkText(row[0], row[1], os.fsdecode(row[2] or b"")) if row else ChunkText("", "", ""))
    return texts


@dataclass
class _Teller:
    """Describes candidates as hits."""

    db: Database
    query: Query
    settings: Settings
    counts: TermCounts
    near: Neighbourhood
    null: Null | None
    meaning: Meaning | None
    _idf: dict[str, float] | None = None

    def hits(self, ranked: list[Candidate], limit: int) -> list[Hit]:
        """Describe the best candidates whose file is there, a few of each file at most."""
        hits: list[Hit] = []
        paths: dict[int, str | None] = {}
        shown: dict[int, int] = {}
        further: dict[int, list[FurtherPlace]] = {}
        for candidate in ranked:
            content = candidate.place[0]
            if content not in paths:
                paths[content] = self._visible_path(content) if len(hits) < limit else None
            path = paths[content]
            if path is None:
                continue
            if content in shown and self.settings.grouped:
                self._add_place(further.setdefault(content, []), candidate)
            elif shown.get(content, 0) < MAX_HITS_PER_FILE and len(hits) < limit:
                hit = self._describe(candidate, path)
                if hit is not None:
                    shown[content] = shown.get(content, 0) + 1
                    hits.append(hit)
                    further.setdefault(content, [])
            if len(hits) == limit and not self.settings.grouped:
                break
        if not self.settings.grouped:
            return hits
        return [_with_places(hit, places) for hit, places in zip(hits, further.values(), strict=True)]

    def _visible_path(self, content: int) -> str | None:
        """The first path of a content at which there is still a file, and that passes the filters."""
        condition, parameters = self.query.filters.condition()
        rows = self.db.execute(
            f"SELECT f.path FROM files f WHERE f.content = ? AND f.missing_since IS NULL AND {condition} ORDER BY path",
            [content, *parameters],
        )
        return next((os.fsdecode(path) for (path,) in rows if os.path.lexists(path)), None)

    def _add_place(self, places: list[FurtherPlace], candidate: Candidate) -> None:
        if len(places) == MAX_FURTHER_PLACES or not (candidate.bm25 or candidate.cosine is not None):
            return
        row = self._row(candidate)
        if row is None:
            return
        chunk, line, page, heading, body = row
        spans = lexical.matches_in(self.db, self.query, chunk).spans
        start = make_snippet(body, spans).start
        places.append(FurtherPlace(line + body.count("\n", 0, start), page, heading, candidate.score, chunk))

    def _describe(self, candidate: Candidate, path: str) -> Hit | None:
        row = self._row(candidate)
        if row is None:  # removed by another process since it was ranked
            return None
        chunk, line, page, heading, body = row
        matches = lexical.matches_in(self.db, self.query, chunk)
        near_spans = self._meaning_spans(body, matches.spans)
        snippet = make_snippet(body, matches.spans, near_spans)
        return Hit(
            path=path,
            line=line + body.count("\n", 0, snippet.start),
            heading=heading,
            snippet=snippet.text,
            marks=snippet.marks,
            score=candidate.score,
            why=_why(matches.words, candidate),
            chunk_id=chunk,
            page=page,
            match=self._judge(candidate, chunk),
            meaning_marks=snippet.meaning_marks,
        )

    def _row(self, candidate: Candidate) -> tuple[int, int, int | None, str, str] | None:
        row = self.db.execute(
            "SELECT id, line, page, heading, body FROM chunks WHERE content = ? AND seq = ?", candidate.place
        ).fetchone()
        return None if row is None else (row[0], row[1], row[2], row[3], row[4])

    def _meaning_spans(self, body: str, words: Spans) -> Spans:
        vector: Vector | None = self.near.vector
        if not self.settings.highlight or vector is None or self.meaning is None:
            return ()
        embedder = self.meaning.embedder
        return meaning_spans(embedder, body, vector, words) if isinstance(embedder, Explaining) else ()

    def _judge(self, candidate: Candidate, chunk: int) -> Match:
        share = self._share_of_idf(candidate, chunk)
        distance = None
        if candidate.cosine is not None and self.null is not None and self.near.index is not None:
            distance = distance_from_chance(candidate.cosine, self.null, len(self.near.index))
        return self.settings.calibration.judge(share, distance)

    def _share_of_idf(self, candidate: Candidate, chunk: int) -> float:
        """How much of what the query's words say the chunk or its file's name holds."""
        if self._idf is None:
            self._idf = self.counts.idfs(self.db, lexical.covered_terms(self.query))
        held = sum(self._idf[term] for term in lexical.held_terms(self.db, chunk, tuple(self._idf)))
        total = sum(self._idf.values())
        return max(held / total if total else 0.0, candidate.name)


def _with_places(hit: Hit, places: list[FurtherPlace]) -> Hit:
    return Hit(**{**vars(hit), "places": tuple(places)}) if places else hit


def _why(words: tuple[str, ...], candidate: Candidate) -> str:
    reasons = []
    if words:
        reasons.append("words: " + ", ".join(words[:_WORDS_IN_WHY]))
    if candidate.name:
        reasons.append("file name")
    if candidate.cosine is not None:
        reasons.append(f"meaning {max(candidate.cosine, 0.0):.2f}")
    return " · ".join(reasons)
