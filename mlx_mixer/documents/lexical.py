"""The words leg: BM25 over chunks, and which files' names hold the words."""

from collections import Counter
from dataclasses import dataclass

from sqlite_utils import Database

from mlx_mixer.documents.query import Query, quote
from mlx_mixer.documents.words import identifier_parts

# Weights of the columns heading, body, identifiers.
COLUMN_WEIGHTS = (2.0, 1.0, 0.5)
# A word in more file names than this tells nothing about any of them.
_MAX_NAME_MATCHES = 200
_COVERAGE_HITS = 3
_COVERAGE_TERMS = 8
START_MARK, END_MARK = "\x02", "\x03"  # readers take these out of documents

Spans = tuple[tuple[int, int], ...]

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


@dataclass(frozen=True)
class ChunkMatches:
    """Where a chunk's body holds the query's words, and which words its body, heading or identifiers hold."""

    spans: Spans
    words: tuple[str, ...]


def search_words(db: Database, query: Query, limit: int) -> list[WordMatch]:
    """Return the chunks with the highest BM25 for a query that is not empty, best first."""
    return [WordMatch(*row) for row in db.execute(_MATCHES, [query.match_expression(), limit])]


def name_coverage(db: Database, query: Query) -> dict[int, float]:
    """Return, by content, the share (0 to 1] of the query's terms that the path of a file with it holds.

    A term found in the folders alone counts half. Contents no term leads to are absent.
    """
    terms = (*query.phrases, *query.terms)[:_COVERAGE_TERMS]
    found: Counter[int] = Counter()
    for term in terms:
        in_name = _files_named(db, "name", term)
        found.update(dict.fromkeys(in_name, 2))
        found.update(dict.fromkeys(_files_named(db, "folder", term) - in_name, 1))
    coverage: dict[int, float] = {}
    for file, halves in found.items():
        row = db.execute(
            "SELECT content FROM files WHERE id = ? AND state = 'indexed' AND missing_since IS NULL", [file]
        ).fetchone()
        if row:
            coverage[row[0]] = max(coverage.get(row[0], 0.0), halves / 2 / len(terms))
    return coverage


def _files_named(db: Database, column: str, term: str) -> set[int]:
    rows = db.execute(
        "SELECT rowid FROM names_fts WHERE names_fts MATCH ? LIMIT ?",
        [f"{column} : {quote(term)}", _MAX_NAME_MATCHES + 1],
    ).fetchall()
    return {row[0] for row in rows} if len(rows) <= _MAX_NAME_MATCHES else set()


def word_coverage(db: Database, query: Query, matches: list[WordMatch]) -> float:
    """Return the largest share of the query's terms that one of the best hits holds."""
    terms = (*query.phrases, *query.terms)[:_COVERAGE_TERMS]
    best = 0
    for match in matches[:_COVERAGE_HITS]:
        found = sum(_holds(db, match.chunk, term) for term in terms)
        best = max(best, found)
    return best / len(terms) if terms else 0.0


def excluded_places(db: Database, query: Query) -> set[tuple[int, int]]:
    """Return the ``(content, seq)`` of the chunks that hold what the query excludes."""
    if not query.excluded:
        return set()
    return set(
        db.execute(
            "SELECT content, seq FROM chunks_fts JOIN chunks ON chunks.id = chunks_fts.rowid WHERE chunks_fts MATCH ?",
            [query.exclusion_expression()],
        )
    )


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
    inside_names = {word.lower() for word in _marked_words(*identifiers)}
    parts = [(a, b) for a, b in identifier_parts(body[0]) if body[0][a:b].lower() in inside_names]
    spans = sorted({*body[1], *(part for part in parts if not any(a < part[1] and part[0] < b for a, b in body[1]))})
    words = [body[0][a:b] for a, b in spans] + _marked_words(*heading) + _marked_words(*identifiers)
    return ChunkMatches(tuple(spans), tuple(dict.fromkeys(word.lower() for word in words)))


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


def _holds(db: Database, chunk: int, term: str) -> bool:
    row = db.execute("SELECT 1 FROM chunks_fts WHERE chunks_fts MATCH ? AND rowid = ?", [quote(term), chunk])
    return row.fetchone() is not None
