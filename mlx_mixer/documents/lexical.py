"""The words leg: BM25 over chunks, and which files' names hold the words."""

import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from mlx_mixer.documents.close_up import CloseUp
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.filters import Filters
from mlx_mixer.documents.frequency import TermCounts
from mlx_mixer.documents.query import Query, match_term

# Weights of the columns heading, body, identifiers.
COLUMN_WEIGHTS = (2.0, 1.0, 0.5)
# A word in more file names than this tells nothing about any of them.
_MAX_NAME_MATCHES = 200
_COVERAGE_HITS = 3
_COVERAGE_TERMS = 8

# In a library of more chunks than this, common words are left out beside rarer ones: ranking costs as much as the lists
# of all words are long.
LARGE_LIBRARY = 50_000
_MAX_RANKED_TERMS = 6
_RANKED_ROWS = 12_000
# The ranking of one query may take this long before a cheaper one is asked.
_DEADLINE_SECONDS = 0.12
_STEPS_BETWEEN_LOOKS = 20_000

Place = tuple[int, int]  # content, seq

# The best rows of the index come first, and are looked up in order until enough of them can be shown. Sorting by the
# function and not by the column `rank` spares FTS5 from sorting whole lists of positions (measured: a third of it all).
_MATCHES = """
    SELECT best.id, p.content, best.id - c.first_chunk, -best.score
    FROM (
        SELECT rowid AS id, {score} AS score FROM chunks_fts WHERE chunks_fts MATCH ? ORDER BY score, rowid LIMIT ?
    ) best
    CROSS JOIN chunk_places p ON p.id = best.id
    CROSS JOIN contents c ON c.id = p.content
    WHERE c.unreferenced_since IS NULL {filter}
    LIMIT ?
"""
_BM25 = f"bm25(chunks_fts, {', '.join(map(str, COLUMN_WEIGHTS))})"
_IN_FILES = "AND EXISTS (SELECT 1 FROM files f WHERE f.content = c.id AND {visible} AND {condition})"
_NOTHING_HIDDEN = "SELECT NOT EXISTS (SELECT 1 FROM contents WHERE unreferenced_since IS NOT NULL)"
VISIBLE = "f.state = 'indexed' AND f.missing_since IS NULL"


@dataclass(frozen=True)
class WordMatch:
    """A chunk that holds some of the words; `bm25` is positive, higher is better."""

    chunk: int
    content: int
    seq: int
    bm25: float


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
    parameters: list[object] = []
    where = ""
    # As many of the best as there are, where some may have to be passed over; -1 for all.
    most = limit if db.execute(_NOTHING_HIDDEN).fetchone()[0] else -1
    if not filters.is_empty:
        condition, parameters = filters.condition()
        where = _IN_FILES.format(visible=VISIBLE, condition=condition)
        most = -1
    sql = _MATCHES.format(score="0.0" if unranked else _BM25, filter=where)
    if unranked:
        sql = sql.replace("ORDER BY score, rowid", "")
    return [WordMatch(*row) for row in db.execute(sql, [expression, most, *parameters, limit])]


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
    db.set_progress_handler(lambda: time.monotonic() > ends, _STEPS_BETWEEN_LOOKS)
    try:
        yield
    finally:
        db.set_progress_handler(None, 0)


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


def word_coverage(close_up: CloseUp, query: Query, matches: Sequence[WordMatch]) -> float:
    """Return the largest share of the query's terms that one of the best hits holds."""
    terms = covered_terms(query)
    best = [match.chunk for match in matches[:_COVERAGE_HITS]]
    close_up.add(best)
    most = max((len(close_up.held_terms(chunk, terms)) for chunk in best), default=0)
    return most / len(terms) if terms else 0.0


def covered_terms(query: Query) -> tuple[str, ...]:
    """The terms that are looked at to say how much of a query a chunk holds."""
    return query.words[:_COVERAGE_TERMS]


def chunk_ids(db: Database, places: Sequence[Place]) -> dict[Place, int]:
    """Return the ids of the chunks at some places that are (still) there."""
    contents = ", ".join({str(content) for content, _ in places})  # our own integers
    rows = db.execute(f"SELECT id, first_chunk, chunk_count FROM contents WHERE id IN ({contents})")
    chunks = {content: range(first, first + count) for content, first, count in rows}
    return {(content, seq): chunks[content][seq] for content, seq in places if seq < len(chunks.get(content, ()))}


def without_excluded(db: Database, query: Query, places: Sequence[Place]) -> list[Place]:
    """Return those places that hold nothing of what the query excludes, in order."""
    if not query.excluded:
        return list(places)
    excluded = query.exclusion_expression()
    ids = chunk_ids(db, places)
    return [place for place in places if place in ids and not _holds(db, ids[place], excluded)]


def _holds(db: Database, chunk: int, expression: str) -> bool:
    row = db.execute("SELECT 1 FROM chunks_fts WHERE chunks_fts MATCH ? AND rowid = ?", [expression, chunk])
    return row.fetchone() is not None
