"""The words leg: BM25 over chunks, and which files' names hold the words."""

from collections import Counter
from dataclasses import dataclass

from sqlite_utils import Database

from mlx_mixer.documents.query import Query, quote

# Weights of the columns heading, body, identifiers.
COLUMN_WEIGHTS = (2.0, 1.0, 0.5)
# A word in more file names than this tells nothing about any of them.
_MAX_NAME_MATCHES = 200
_COVERAGE_HITS = 3
_COVERAGE_TERMS = 8
START_MARK, END_MARK = "\x02", "\x03"  # readers take these out of documents

_MATCHES = f"""
    SELECT chunks.id, chunks.content, chunks.seq, -chunks_fts.rank
    FROM chunks_fts
    JOIN chunks ON chunks.id = chunks_fts.rowid
    JOIN contents ON contents.id = chunks.content
    WHERE chunks_fts MATCH ? AND rank MATCH 'bm25({", ".join(map(str, COLUMN_WEIGHTS))})'
      AND contents.unreferenced_since IS NULL
    ORDER BY chunks_fts.rank
    LIMIT ?
"""


@dataclass(frozen=True)
class WordMatch:
    """A chunk that holds some of the words; `bm25` is positive, higher is better."""

    chunk: int
    content: int
    seq: int
    bm25: float


def search_words(db: Database, query: Query, limit: int) -> list[WordMatch]:
    """Return the chunks with the highest BM25 for a query that is not empty, best first."""
    return [WordMatch(*row) for row in db.execute(_MATCHES, [query.match_expression(), limit])]


def name_coverage(db: Database, query: Query) -> dict[int, float]:
    """Return, by content, the share of the query's terms that the name of a file with it holds, where that is not 0."""
    terms = (*query.phrases, *query.terms)[:_COVERAGE_TERMS]
    counts: Counter[int] = Counter()
    for term in terms:
        files = db.execute(
            "SELECT rowid FROM names_fts WHERE names_fts MATCH ? LIMIT ?", [quote(term), _MAX_NAME_MATCHES + 1]
        ).fetchall()
        if len(files) <= _MAX_NAME_MATCHES:
            counts.update(row[0] for row in files)
    coverage: dict[int, float] = {}
    for file, count in counts.items():
        row = db.execute(
            "SELECT content FROM files WHERE id = ? AND state = 'indexed' AND missing_since IS NULL", [file]
        ).fetchone()
        if row:
            coverage[row[0]] = max(coverage.get(row[0], 0.0), count / len(terms))
    return coverage


def word_coverage(db: Database, query: Query, matches: list[WordMatch]) -> float:
    """Return the largest share of the query's terms that one of the best hits holds."""
    terms = (*query.phrases, *query.terms)[:_COVERAGE_TERMS]
    best = 0
    for match in matches[:_COVERAGE_HITS]:
        found = sum(_holds(db, match.chunk, term) for term in terms)
        best = max(best, found)
    return best / len(terms) if terms else 0.0


def excluded_chunks(db: Database, query: Query) -> set[int]:
    """Return the chunks that hold what the query excludes."""
    if not query.excluded:
        return set()
    rows = db.execute("SELECT rowid FROM chunks_fts WHERE chunks_fts MATCH ?", [query.exclusion_expression()])
    return {row[0] for row in rows}


def marked(db: Database, query: Query, chunk: int) -> tuple[str, str, str] | None:
    """Return heading, body and identifiers of a chunk with marks around what matches; None if nothing does."""
    row = db.execute(
        "SELECT highlight(chunks_fts, 0, :start, :end), highlight(chunks_fts, 1, :start, :end),"
        " highlight(chunks_fts, 2, :start, :end) FROM chunks_fts WHERE chunks_fts MATCH :query AND rowid = :chunk",
        {"start": START_MARK, "end": END_MARK, "query": query.match_expression(), "chunk": chunk},
    ).fetchone()
    return tuple(row) if row else None


def _holds(db: Database, chunk: int, term: str) -> bool:
    row = db.execute("SELECT 1 FROM chunks_fts WHERE chunks_fts MATCH ? AND rowid = ?", [quote(term), chunk])
    return row.fetchone() is not None
