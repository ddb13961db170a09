"""Does meaning help in this library? Known items of its own documents say so, and the weight follows.

The items are looked for in a copy in memory, of the documents they are in and of as many others as make no long wait,
with the giveaways taken out and what changed embedded again. Ranking is the one that searches use.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from mlx_mixer.documents.candidates import Candidates, Neighbourhood, gather
from mlx_mixer.documents.frequency import TermCounts
from mlx_mixer.documents.fusion import FusionWeights, fuse
from mlx_mixer.documents.known_items import KnownItem, find_items
from mlx_mixer.documents.migrations import migrate
from mlx_mixer.documents.prepare import embedding_text
from mlx_mixer.documents.query import parse_query
from mlx_mixer.documents.vectors import Meaning, VectorIndex, from_blob, to_blob
from mlx_mixer.documents.words import identifier_words
from mlx_mixer.errors import LibraryError

MOST_ITEMS = 400
LEAST_ITEMS = 60
MOST_CHUNKS = 20_000
SCALES = (0.5, 1.0, 1.5, 2.0)
_RESAMPLES = 4000
_DEPTH = 10
_HIT = 5
# Not found among the candidates.
_NOWHERE = 10**6

System = Literal["words", "meaning", "fused"]
Ranks = NDArray[np.int64]
CheckProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Interval:
    """A mean over items with its 95 % interval, by bootstrap."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Quality:
    """How well a way of ranking finds known items.

    Attributes:
        mrr: Mean of 1 / rank, 0 beyond the first ten.
        hit: Share of items among the first five.
        ndcg: Mean of 1 / log2(1 + rank), 0 beyond the first ten.
    """

    mrr: Interval
    hit: Interval
    ndcg: Interval


@dataclass(frozen=True)
class CheckReport:
    """What a check measured, and what follows.

    Attributes:
        items: How many known items there were, by kind.
        chunks: Among how many passages they were looked for.
        words: BM25 and file names alone.
        meaning: Cosines alone.
        fused: Both, with the shipped weights.
        gain: Of fused over words, item by item: each scale is chosen on one half and measured on the other.
        scale: Times the shipped weights of meaning; 0 where the gain's interval does not lie above 0.
        seconds: How long it took.
    """

    items: dict[str, int]
    chunks: int
    words: Quality
    meaning: Quality
    fused: Quality
    gain: Quality
    scale: float
    seconds: float


def check_library(
    db: Database,
    meaning: Meaning,
    *,
    most: int = MOST_ITEMS,
    progress: CheckProgress,
    is_cancelled: Callable[[], bool],
) -> CheckReport:
    """Measure whether meaning helps to find known items.

    Args:
        db: The library.
        meaning: Its embedder and vectors.
        most: How many items at most.
        progress: Called with the number of items done and of all.
        is_cancelled: Asked between items; True ends with an error.

    Raises:
        LibraryError: If there are too few items, or the caller stopped it.
    """
    started = time.perf_counter()
    items = find_items(db, meaning.embedder.fingerprint, most)
    if len(items) < LEAST_ITEMS:
        raise LibraryError(
            f"only {len(items)} headings and docstrings to ask for, and a check needs {LEAST_ITEMS}; "
            "add more documents with headings of two words or more, or Python code with docstrings, and embed them"
        )
    copy, chunks = cleaned_copy(db, items, meaning)
    index = VectorIndex(meaning.embedder.fingerprint, meaning.embedder.dims)
    ranks = _all_ranks(copy, items, Meaning(meaning.embedder, index), progress, is_cancelled)
    copy.close()
    scale, gain = choose_scale(ranks)
    return CheckReport(
        items={kind: sum(item.kind == kind for item in items) for kind in ("heading", "docstring")},
        chunks=chunks,
        words=quality(ranks["words"]),
        meaning=quality(ranks["meaning"]),
        fused=quality(ranks[1.0]),
        gain=gain,
        scale=scale,
        seconds=time.perf_counter() - started,
    )


def cleaned_copy(db: Database, items: Sequence[KnownItem], meaning: Meaning) -> tuple[Database, int]:
    """Copy documents into memory without what gives the items away; return the copy and its number of chunks."""
    copy = Database(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False))
    migrate(copy)
    cleaned: dict[tuple[int, int], tuple[str, str]] = {}
    for item in items:
        for seq, text in item.cleaned.items():
            cleaned[item.content, seq] = _both(cleaned.get((item.content, seq)), text)
    vectors = _embed(cleaned, meaning)
    copy.execute("BEGIN")
    _copy_roots(db, copy)
    count = 0
    for content in _contents(db, {item.content for item in items}, meaning.embedder.fingerprint):
        count += _copy_content(db, copy, content, cleaned, vectors, meaning)
    copy.execute(
        "INSERT INTO chunks_fts (rowid, heading, body, identifiers) SELECT id, heading, body, identifiers FROM chunks"
    )
    copy.execute("COMMIT")
    return copy, count


def ranks_of(item: KnownItem, found: Candidates, *, is_exact: bool) -> dict[System | float, int]:
    """The rank of an item's best answer by words, by meaning, and fused at each scale; counted from 1."""
    right = np.array([content == item.content and seq in item.answers for content, seq in found.places], dtype=bool)
    weights = FusionWeights()
    cosines = found.cosines if found.cosines is not None else np.full(len(right), np.nan)
    ranks: dict[System | float, int] = {
        "words": _rank(fuse(found.bm25, None, found.names, meaning=0.0, name=weights.name), right),
        "meaning": _rank(np.nan_to_num(cosines, nan=-1.0), right),
    }
    for scale in SCALES:
        scaled = weights.scaled(scale)
        weight = scaled.for_query(is_exact=is_exact, coverage=found.coverage)
        ranks[scale] = _rank(fuse(found.bm25, found.cosines, found.names, meaning=weight, name=weights.name), right)
    return ranks


def choose_scale(ranks: dict[System | float, Ranks]) -> tuple[float, Quality]:
    """Choose the weight of meaning, and measure what it gains over words on items that did not choose it.

    Each half of the items chooses the scale with the best mean reciprocal rank; its gain is measured on the other half.
    The scale that is best on all of them is taken if the gain's interval lies above 0, and 0 otherwise.
    """
    count = len(ranks["words"])
    half = np.arange(count) % 2 == 0
    held_out = np.array(ranks["words"])
    for choosing, measured in ((half, ~half), (~half, half)):
        held_out[measured] = ranks[_best_scale(ranks, choosing)][measured]
    gain = Quality(
        *(
            bootstrap(measure(held_out) - measure(ranks["words"]))
            for measure in (reciprocal_ranks, hits, discounted_gains)
        )
    )
    return (_best_scale(ranks, np.ones(count, dtype=bool)) if gain.mrr.low > 0 else 0.0), gain


def quality(ranks: Ranks) -> Quality:
    """Summarise ranks."""
    return Quality(bootstrap(reciprocal_ranks(ranks)), bootstrap(hits(ranks)), bootstrap(discounted_gains(ranks)))


def bootstrap(values: NDArray[np.float64]) -> Interval:
    """The mean of some values and the interval that holds 95 % of the means of resamples (the same ones every time)."""
    if not len(values):
        return Interval(0.0, 0.0, 0.0)
    rng = np.random.default_rng(1)
    means = values[rng.integers(0, len(values), (_RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


def reciprocal_ranks(ranks: Ranks) -> NDArray[np.float64]:
    return np.where(ranks <= _DEPTH, 1.0 / ranks, 0.0)


def hits(ranks: Ranks) -> NDArray[np.float64]:
    return (ranks <= _HIT).astype(np.float64)


def discounted_gains(ranks: Ranks) -> NDArray[np.float64]:
    return np.where(ranks <= _DEPTH, 1.0 / np.log2(1.0 + ranks), 0.0)


def _best_scale(ranks: dict[System | float, Ranks], items: NDArray[np.bool_]) -> float:
    return max(SCALES, key=lambda scale: reciprocal_ranks(ranks[scale][items]).mean())


def _all_ranks(
    copy: Database,
    items: Sequence[KnownItem],
    meaning: Meaning,
    progress: CheckProgress,
    is_cancelled: Callable[[], bool],
) -> dict[System | float, Ranks]:
    counts = TermCounts()
    rows: list[dict[System | float, int]] = []
    for item in items:
        if is_cancelled():
            raise LibraryError("the check was stopped; nothing was changed")
        query = parse_query(item.query.replace('"', " "))
        found = gather(copy, query, Neighbourhood(copy, query, meaning), counts=counts)
        rows.append(ranks_of(item, found, is_exact=query.is_exact))
        progress(len(rows), len(items))
    return {system: np.array([row[system] for row in rows]) for system in rows[0]}


def _rank(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> int:
    """Of the best right candidate, in the order that a search would show."""
    order = np.argsort(-scores, kind="stable")
    found = np.flatnonzero(right[order] & (scores[order] > 0))
    return int(found[0]) + 1 if len(found) else _NOWHERE


def _both(before: tuple[str, str] | None, text: tuple[str, str]) -> tuple[str, str]:
    """Two items in one chunk: the shorter text of each, which is the one with less in it."""
    return text if before is None else (min(before[0], text[0], key=len), min(before[1], text[1], key=len))


def _embed(
    cleaned: dict[tuple[int, int], tuple[str, str]], meaning: Meaning
) -> dict[tuple[int, int], NDArray[np.float32]]:
    places = list(cleaned)
    vectors = meaning.embedder.embed([embedding_text(*cleaned[place]) for place in places], "document")
    return dict(zip(places, vectors, strict=True))


def _contents(db: Database, needed: set[int], fingerprint: str) -> list[int]:
    """The documents of the items, and others, evenly over the library, up to `MOST_CHUNKS`."""
    sizes = dict(
        db.execute(
            "SELECT c.id, c.chunk_count FROM contents c JOIN vectors v ON v.content = c.id AND v.fingerprint = ?"
            " WHERE c.unreferenced_since IS NULL",
            [fingerprint],
        ).fetchall()
    )
    chosen = [content for content in sorted(needed) if content in sizes]
    total = sum(sizes[content] for content in chosen)
    others = [content for content in sizes if content not in needed]
    for content in np.random.default_rng(1).permutation(np.array(others, dtype=np.int64)).tolist():
        if total + sizes[content] <= MOST_CHUNKS:
            chosen.append(content)
            total += sizes[content]
    return chosen


def _copy_roots(db: Database, copy: Database) -> None:
    for row in db.execute("SELECT id, path FROM roots"):
        copy.execute("INSERT INTO roots (id, path) VALUES (?, ?)", row)


def _copy_content(
    db: Database,
    copy: Database,
    content: int,
    cleaned: dict[tuple[int, int], tuple[str, str]],
    vectors: dict[tuple[int, int], NDArray[np.float32]],
    meaning: Meaning,
) -> int:
    copy.execute(
        "INSERT INTO contents (id, hash, reader, reader_version, title, encoding, characters, chunk_count)"
        " VALUES (?, ?, '', 0, '', '', 0, 0)",
        [content, str(content).encode()],
    )
    for row in db.execute(
        "SELECT id, root, path, folder, name FROM files f WHERE content = ? AND missing_since IS NULL", [content]
    ):
        copy.execute(
            "INSERT INTO files (id, root, path, folder, name, size, mtime_ns, inode, state, content)"
            " VALUES (?, ?, ?, ?, ?, 0, 0, 0, 'indexed', ?)",
            [*row, content],
        )
    rows = []
    for seq, heading, body, identifiers in db.execute(
        "SELECT seq, heading, body, identifiers FROM chunks WHERE content = ? ORDER BY seq", [content]
    ):
        if (content, seq) in cleaned:
            heading, body = cleaned[content, seq]
            identifiers = identifier_words(body)
        rows.append((content, seq, 0, 1, heading, body, identifiers, b""))
    copy.conn.executemany(
        "INSERT INTO chunks (content, seq, start, line, heading, body, identifiers, hash)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    fingerprint, dims = meaning.embedder.fingerprint, meaning.embedder.dims
    data = db.execute(
        "SELECT data FROM vectors WHERE content = ? AND fingerprint = ?", [content, fingerprint]
    ).fetchone()
    matrix = from_blob(data[0], dims)
    for seq in range(len(matrix)):
        matrix[seq] = vectors.get((content, seq), matrix[seq])
    copy.execute(
        "INSERT INTO vectors (content, fingerprint, dims, data) VALUES (?, ?, ?, ?)",
        [content, fingerprint, dims, to_blob(matrix)],
    )
    return len(rows)
