"""The words leg: BM25 over chunks, and which files' names hold the words."""

import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlite_utils import Database

from mlx_mixer.documents.filters import Filters
from mlx_mixer.documents.frequency import TermCounts
from mlx_mixer.documents.query import Query, match_term
from mlx_mixer.documents.words import has_cjk, identifier_parts

# Weights of the columns heading, body, identifiers.
COLUMN_WEIGHTS = (2.0, 1.0, 0.5)
# A word in more file names than this tells nothing about any of them.
_MAX_NAME_MATCHES = 200
_COVERAGE_HITS = 3
_COVERAGE_TERMS = 8
START_MARK, END_MARK = "\x02", "\x03"  # readers take these out of documents

# In a library of more chunks than this, common words are left out beside rarer ones: ranking costs as much as the lists
# of all words are long.
LARGE_LIBRARY = 50_000
_MAX_RANKED_TERMS = 6
_RANKED_ROWS = 12_000
# The ranking of one query may take this long before a cheaper one is asked.
_DEADLINE_SECONDS = 0.12
_STEPS_BETWEEN_LOOKS = 20_000

Spans = tuple[tuple[int, int], ...]
Place = tuple[int, int]  # content, seq

_MATCHES = f"""
    SELECT chunks.id, chunks.content, chunks.seq, -chunks_fts.rank
    FROM chunks_fts
    CROSS JOIN chunks ON chunks.id = chunks_fts.rowid
    CROSS JOIN contents ON contents.id = chunks.content
    WHERE chunks_fts MATCH ? AND rank MATCH 'bm25({", ".join(map(str, COLUMN_WEIGHTS))})'
      AND contents.unreferenced_since IS NULL {{filter}}
    ORDER BY chunks_fts.rank
    LIMIT ?
"""
_IN_FILES = "AND EXISTS (SELECT 1 FROM files f WHERE f.content = contents.id AND {visible} AND {condition})"
VISIBLE = "f.state = 'indexed' AND f.missing_since IS NULL"


@dataclass(frozen=True)
class WordMatch:
    """A chunk that holds some of the words; `bm25` is positive, higher is better."""

    chunk: int
    content: int
    seq: int
    bm25: float


@dataclass(frozen=True)
class ChunkMatches:
    """Where a chunk's body holds the query's words, and which words its body, heading or identifiers hold."""

    spans: Spans
    words: tuple[str, ...]


def search_words(
    db: Database, query: Query, limit: int, *, counts: TermCounts | None = None, filters: Filters | None = None
) -> list[WordMatch]:
    """Return the chunks with the highest BM25 for a query that is not empty, best first.

    Args:
        db: The library.
        query: What is looked for.
        limit: How many chunks at most; only files that pass the filters count.
        counts: Numbers of chunks by word, which choose the words to rank by in a large library.
        filters: In place of those of the query.
    """
    filters = query.filters if filters is None else filters
    for expression in _attempts(db, query, counts or TermCounts()):
        try:
            with _deadline(db, _DEADLINE_SECONDS):
                return _ranked(db, expression, limit, filters)
        except sqlite3.OperationalError as error:
            if "interrupt" not in str(error):
                raise
    return _ranked(db, _rarest(db, query, counts or TermCounts()), limit, filters, unranked=True)


def _ranked(db: Database, expression: str, limit: int, filters: Filters, *, unranked: bool = False) -> list[WordMatch]:
    sql = _MATCHES
    parameters: list[object] = []
    where = ""
    if not filters.is_empty:
        condition, parameters = filters.condition()
        where = _IN_FILES.format(visible=VISIBLE, condition=condition)
    if unranked:
        sql = sql.replace("-chunks_fts.rank", "0.0").replace("ORDER BY chunks_fts.rank", "")
    rows = db.execute(sql.format(filter=where), [expression, *parameters, limit])
    return [WordMatch(*row) for row in rows]


def _attempts(db: Database, query: Query, counts: TermCounts) -> Iterator[str]:
    """Yield expressions for a query, each cheaper than the one before."""
    if query.phrases or counts.chunks(db) <= LARGE_LIBRARY:
        yield query.match_expression()
        return
    count = counts.counts(db, (*query.terms, *query.parts))
    by_count = sorted(count, key=count.__getitem__)
    kept: list[str] = []
    rows = 0.0
    for term in by_count[:_MAX_RANKED_TERMS]:
        rows += count[term]
        if kept and rows > _RANKED_ROWS:
            break
        kept.append(term)
    if len(kept) > 1 or rows <= _RANKED_ROWS or len(by_count) == 1:
        yield query.with_terms(tuple(kept)).match_expression()
    if len(by_count) > 1:
        # Every word is common: what holds several of them is what is wanted.
        yield _with_exclusions(query, " AND ".join(match_term(term) for term in by_count[:3]))
    yield _with_exclusions(query, match_term(by_count[0]))


def _rarest(db: Database, query: Query, counts: TermCounts) -> str:
    count = counts.counts(db, query.words)
    return _with_exclusions(query, match_term(min(count, key=count.__getitem__)))


def _with_exclusions(query: Query, expression: str) -> str:
    return f"({expression}) NOT ({query.exclusion_expression()})" if query.excluded else expression


@contextmanager
def _deadline(db: Database, seconds: float) -> Iterator[None]:
    """Interrupt what runs in this connection after a time."""
    ends = time.monotonic() + seconds
    db.conn.set_progress_handler(lambda: time.monotonic() > ends, _STEPS_BETWEEN_LOOKS)
    try:
        yield
    finally:
        db.conn.set_progress_handler(None, 0)


def name_coverage(db: Database, query: Query) -> dict[int, float]:
    """Return, by content, the share (0 to 1] of the query's terms that the path of a file with it holds.

    A term found in the folders alone counts half. Contents no term leads to are absent, and so are files that the
    query's filters leave out.
    """
    terms = query.words[:_COVERAGE_TERMS]
    found: Counter[int] = Counter()
    for term in terms:
        in_name = _files_named(db, "name", term)
        found.update(dict.fromkeys(in_name, 2))
        found.update(dict.fromkeys(_files_named(db, "folder", term) - in_name, 1))
    if not found:
        return {}
    condition, parameters = query.filters.condition()
    files = ", ".join(map(str, found))  # our own integers
    coverage: dict[int, float] = {}
    for file, content in db.execute(
        f"SELECT f.id, f.content FROM files f WHERE f.id IN ({files}) AND {VISIBLE} AND {condition}", parameters
    ):
        coverage[content] = max(coverage.get(content, 0.0), found[file] / 2 / len(terms))
    return coverage


def _files_named(db: Database, column: str, term: str) -> set[int]:
    rows = db.execute(
        "SELECT rowid FROM names_fts WHERE names_fts MATCH ? LIMIT ?",
        [f"{column} : ({match_term(term)})", _MAX_NAME_MATCHES + 1],
    ).fetchall()
    return {row[0] for row in rows} if len(rows) <= _MAX_NAME_MATCHES else set()


def word_coverage(db: Database, query: Query, matches: Sequence[WordMatch]) -> float:
    """Return the largest share of the query's terms that one of the best hits holds."""
    terms = covered_terms(query)
    best = max((len(held_terms(db, match.chunk, terms)) for match in matches[:_COVERAGE_HITS]), default=0)
    return best / len(terms) if terms else 0.0


def held_terms(db: Database, chunk: int, terms: Sequence[str]) -> tuple[str, ...]:
    """Return those of some terms that a chunk holds."""
    return tuple(term for term in terms if _holds(db, chunk, match_term(term)))


def covered_terms(query: Query) -> tuple[str, ...]:
    """The terms that are looked at to say how much of a query a chunk holds."""
    return query.words[:_COVERAGE_TERMS]


def chunk_ids(db: Database, places: Sequence[Place]) -> dict[Place, int]:
    """Return the ids of the chunks at some places that are (still) there."""
    found: dict[Place, int] = {}
    for place in places:
        row = db.execute("SELECT id FROM chunks WHERE content = ? AND seq = ?", place).fetchone()
        if row:
            found[place] = row[0]
    return found


def without_excluded(db: Database, query: Query, places: Sequence[Place]) -> list[Place]:
    """Return those places that hold nothing of what the query excludes, in order."""
    if not query.excluded:
        return list(places)
    excluded = query.exclusion_expression()
    ids = chunk_ids(db, places)
    return [place for place in places if place in ids and not _holds(db, ids[place], excluded)]


def matches_in(db: Database, query: Query, chunk: int) -> ChunkMatches:
    """Find where in a chunk the words of a query are; nowhere for an empty query."""
    row = None
    if not query.is_empty:
        row = db.execute(
            "SELECT highlight(chunks_fts, 0, :start, :end), highlight(chunks_fts, 1, :start, :end),"
            " highlight(chunks_fts, 2, :start, :end) FROM chunks_fts WHERE chunks_fts MATCH :query AND rowid = :chunk",
            {"start": START_MARK, "end": END_MARK, "query": query.match_expression(), "chunk": chunk},
        ).fetchone()
    if row is None:
        return ChunkMatches((), ())
    heading, body, identifiers = (split_marks(column) for column in row)
    inside_names = {word.lower() for phrase in _marked_words(*identifiers) for word in phrase.split()}
    parts: list[tuple[int, int]] = []
    if inside_names:
        parts = [(a, b) for a, b in identifier_parts(body[0]) if body[0][a:b].lower() in inside_names]
    spans = joined(body[1], parts)
    words = [body[0][a:b] for a, b in spans] + _marked_words(*heading)
    # Pairs of CJK letters are how the index finds a word, not words.
    words += [word for word in sorted(inside_names) if not has_cjk(word)]
    return ChunkMatches(spans, tuple(dict.fromkeys(word.lower() for word in words)))


def joined(spans: Sequence[tuple[int, int]], parts: Sequence[tuple[int, int]]) -> Spans:
    """Return spans in order, together with those parts that lie beside them; parts that overlap become one."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(parts):
        if result and start < result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    beside = [part for part in result if not any(a < part[1] and part[0] < b for a, b in spans)]
    return tuple(sorted({*spans, *beside}))


def split_marks(text: str) -> tuple[str, Spans]:
    """Take the marks out of a highlighted text; return it and the spans that were marked."""
    outside, *rest = text.split(START_MARK)
    plain = [outside]
    spans: list[tuple[int, int]] = []
    length = len(outside)
    for piece in rest:
        inside, _, outside = piece.partition(END_MARK)
        spans.append((length, length + len(inside)))
        plain += (inside, outside)
        length += len(inside) + len(outside)
    return "".join(plain), tuple(spans)


def _marked_words(text: str, spans: Spans) -> list[str]:
    return [text[start:end] for start, end in spans]


def _holds(db: Database, chunk: int, expression: str) -> bool:
    row = db.execute("SELECT 1 FROM chunks_fts WHERE chunks_fts MATCH ? AND rowid = ?", [expression, chunk])
    return row.fetchone() is not None
