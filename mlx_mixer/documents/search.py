"""A query in, hits out: both legs, their fusion, and what is shown of each hit."""

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from mlx_mixer.documents.boosts import NO_BOOSTS, BoostWeights, ChunkText, boosted
from mlx_mixer.documents.calibration import Calibration, Match, best_of, distance_from_chance
from mlx_mixer.documents.candidates import CANDIDATES_PER_LEG, Candidates, Neighbourhood, gather
from mlx_mixer.documents.close_up import NO_MATCHES, ChunkMatches, CloseUp, SeenChunk, Spans
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.frequency import TermCounts
from mlx_mixer.documents.fusion import FusionWeights, fuse
from mlx_mixer.documents.highlight import Explaining, meaning_spans
from mlx_mixer.documents.lexical import Place, chunk_ids, covered_terms
from mlx_mixer.documents.passages import visible_path
from mlx_mixer.documents.query import Query
from mlx_mixer.documents.similar import similar_places, vector_of
from mlx_mixer.documents.snippet import make_snippet
from mlx_mixer.documents.structure import PageKind
from mlx_mixer.documents.vectors import Floats as Vector
from mlx_mixer.documents.vectors import Meaning, Null

MAX_HITS_PER_FILE = 3
MAX_FURTHER_PLACES = 3
BOOSTED = 50
_WORDS_IN_WHY = 5
_NO_TEXT = ChunkText("", "", "")


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
        page_kind: What such a page is called in this file; empty where it has none.
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
    page_kind: PageKind = ""
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
    with CloseUp(db) as close_up:
        found = gather(db, query, near, counts=counts, close_up=close_up, limit=max(limit, CANDIDATES_PER_LEG))
        ranked = ordered(db, query, found, settings)
        if reorder is not None:
            ranked = reorder(ranked, near)
        teller = _Teller(db, query, settings, counts, near, found.null, meaning, close_up)
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
    with CloseUp(db) as close_up:
        teller = _Teller(db, query, settings, TermCounts(), near, near.null(), meaning, close_up)
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
    near = Neighbourhood(db, query, meaning)
    with CloseUp(db) as close_up:
        found = gather(db, query, near, counts=TermCounts(), close_up=close_up, limit=candidates)
    return ordered(db, query, found, Settings(weights=weights, boosts=NO_BOOSTS))


def ordered(db: Database, query: Query, found: Candidates, settings: Settings) -> list[Candidate]:
    """Give every candidate its score and return those above 0, best first."""
    weights = settings.weights
    weight = weights.for_query(is_exact=query.is_exact, coverage=found.coverage)
    scores = fuse(found.bm25, found.cosines, found.names, meaning=weight, name=weights.name)
    by_score = np.argsort(-scores, kind="stable")
    order = by_score[scores[by_score] > 0].tolist()
    head = order[:BOOSTED]
    if head and settings.boosts.has_any:
        places = [found.places[i] for i in head]
        texts = chunk_texts(db, places, with_bodies=settings.boosts.looks_at_bodies(query))
        scores[head] = boosted(scores[head], places, texts, query, settings.boosts)
        order = sorted(head, key=lambda i: -scores[i]) + order[BOOSTED:]
    cosines = np.full(len(scores), np.nan) if found.cosines is None else found.cosines
    # As lists: numpy takes longer to hand out single numbers than all else here.
    columns = zip(found.bm25.tolist(), cosines.tolist(), found.names.tolist(), scores.tolist(), strict=True)
    candidates = [
        Candidate(place, bm25, None if math.isnan(cosine) else cosine, name, score)
        for place, (bm25, cosine, name, score) in zip(found.places, columns, strict=True)
    ]
    return [candidates[i] for i in order]


def chunk_texts(db: Database, places: Sequence[Place], *, with_bodies: bool) -> list[ChunkText]:
    """Read the texts of some chunks, empty ones for those that are not there any more; bodies only if wanted."""
    ids = chunk_ids(db, places)
    wanted = ", ".join(map(str, ids.values()))  # our own integers
    rows = db.execute(
        "SELECT h.id, h.heading, CASE WHEN ? THEN h.body ELSE '' END,"
        f" (SELECT path FROM files f WHERE f.content = h.content LIMIT 1) FROM chunks h WHERE h.id IN ({wanted})",
        [with_bodies],
    )
    texts = {chunk: ChunkText(heading, body, os.fsdecode(path or b"")) for chunk, heading, body, path in rows}
    return [texts.get(ids.get(place, 0), _NO_TEXT) for place in places]


class _Chosen(NamedTuple):
    """A candidate that is shown, the file it is shown in, and further places of that."""

    candidate: Candidate
    path: str
    further: list[Candidate]


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
    close_up: CloseUp
    _idf: dict[str, float] | None = None
    _ids: dict[Place, int] = field(default_factory=dict)
    _matches: dict[int, ChunkMatches] = field(default_factory=dict)

    def hits(self, ranked: list[Candidate], limit: int) -> list[Hit]:
        """Describe the best candidates whose file is there, a few of each file at most."""
        chosen = self._choose(ranked, limit)
        places = [candidate.place for one in chosen for candidate in (one.candidate, *one.further)]
        self._ids = chunk_ids(self.db, places)
        self.close_up.add(self._ids.values())
        self._matches = self.close_up.matches(self.query)
        described = [self._describe(one) for one in chosen]
        return [hit for hit in described if hit is not None]

    def _choose(self, ranked: list[Candidate], limit: int) -> list[_Chosen]:
        chosen: list[_Chosen] = []
        paths: dict[int, str | None] = {}
        shown: dict[int, list[_Chosen]] = {}
        for candidate in ranked:
            content = candidate.place[0]
            if content not in paths:
                is_needed = len(chosen) < limit
                paths[content] = visible_path(self.db, content, self.query.filters) if is_needed else None
            path = paths[content]
            if path is None:
                continue
            of_file = shown.setdefault(content, [])
            if of_file and self.settings.grouped:
                is_near = bool(candidate.bm25) or candidate.cosine is not None
                if is_near and len(of_file[0].further) < MAX_FURTHER_PLACES:
                    of_file[0].further.append(candidate)
            elif len(of_file) < MAX_HITS_PER_FILE and len(chosen) < limit:
                of_file.append(_Chosen(candidate, path, []))
                chosen.append(of_file[-1])
            if len(chosen) == limit and not self.settings.grouped:
                break
        return chosen

    def _describe(self, chosen: _Chosen) -> Hit | None:
        candidate = chosen.candidate
        chunk = self._chunk(candidate)
        if chunk is None:  # removed by another process since it was ranked
            return None
        matches = self._matches.get(chunk.id, NO_MATCHES)
        near_spans = self._meaning_spans(chunk.body, matches.spans)
        snippet = make_snippet(chunk.body, matches.spans, near_spans)
        return Hit(
            path=chosen.path,
            line=chunk.line + chunk.body.count("\n", 0, snippet.start),
            heading=chunk.heading,
            snippet=snippet.text,
            marks=snippet.marks,
            score=candidate.score,
            why=_why(matches.words, candidate),
            chunk_id=chunk.id,
            page=chunk.page,
            page_kind=chunk.page_kind,
            match=self._judge(candidate, chunk.id),
            meaning_marks=snippet.meaning_marks,
            places=tuple(place for each in chosen.further if (place := self._further_place(each)) is not None),
        )

    def _further_place(self, candidate: Candidate) -> FurtherPlace | None:
        chunk = self._chunk(candidate)
        if chunk is None:
            return None
        start = make_snippet(chunk.body, self._matches.get(chunk.id, NO_MATCHES).spans).start
        line = chunk.line + chunk.body.count("\n", 0, start)
        return FurtherPlace(line, chunk.page, chunk.heading, candidate.score, chunk.id)

    def _chunk(self, candidate: Candidate) -> SeenChunk | None:
        return self.close_up.chunk(self._ids.get(candidate.place, 0))

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
            self._idf = self.counts.idfs(self.db, covered_terms(self.query))
        held = sum(self._idf[term] for term in self.close_up.held_terms(chunk, self._idf))
        total = sum(self._idf.values())
        return max(held / total if total else 0.0, candidate.name)


def _why(words: tuple[str, ...], candidate: Candidate) -> str:
    reasons = []
    if words:
        reasons.append("words: " + ", ".join(words[:_WORDS_IN_WHY]))
    if candidate.name:
        reasons.append("file name")
    if candidate.cosine is not None:
        reasons.append(f"meaning {max(candidate.cosine, 0.0):.2f}")
    return " · ".join(reasons)
