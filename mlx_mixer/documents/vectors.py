"""Vectors of chunks: how they lie in the database, and a search over all of them in memory.

No index beside the vectors: they are kept as they are stored, in float16, with a sketch of signs that says which rows
are worth an exact cosine. It is made in a moment, grows with every row, gives the exact cosine of every candidate of
the other leg, and leaves no second file that a crash could put out of step.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.sketch import SignSketch

Floats = NDArray[np.float32]
Kind = Literal["document", "query"]

# Rows that are widened to float32 at once: a few hundred kilobytes, so that they stay in the cache.
_BLOCK_ROWS = 1024
# Up to here, and the first time, every row's cosine is computed: a sketch would cost more than it saves.
_EXACT_ROWS = 8192
# How many rows the sketch proposes, at least and as a part of all.
_PROPOSED_ROWS = 2048
_PROPOSED_PART = 128
_NULL_SAMPLE = 2048
# How many vectors the mean must be worth before it is believed: a handful of documents has no meaningful centre.
_MEAN_PRIOR = 32.0
_STORED = np.dtype("<f2")


class TextEmbedder(Protocol):
    """What the library needs of an embedder (see `mlx_mixer.embedding.Embedder`)."""

    @property
    def dims(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    def embed(self, texts: Sequence[str], kind: Kind = "document") -> Floats: ...


@dataclass(frozen=True)
class Meaning:
    """An embedder and the vectors it made: two things that must never be mixed up with another's."""

    embedder: TextEmbedder
    index: "VectorIndex"


def to_blob(vectors: Floats) -> bytes:
    """Encode (N, D) vectors as float16, little-endian."""
    return vectors.astype(_STORED).tobytes()


def from_blob(data: bytes, dims: int) -> Floats:
    """Decode to (N, D) float32."""
    return np.frombuffer(data, dtype=_STORED).reshape(-1, dims).astype(np.float32)


def widened(half: NDArray[np.float16]) -> Floats:
    """Convert finite float16 to float32, exactly, with vector instructions that numpy's own conversion does without.

    The sign goes to the top bit, exponent and mantissa to their places; multiplying by 2^112 mends the bias of the
    exponent, for subnormal numbers too.
    """
    bits = np.ascontiguousarray(half).view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= np.int32(-0x70000001)  # 0x8fffffff: the shift has copied the sign into the exponent
    wide = bits.view(np.float32)
    wide *= np.float32(2.0**112)
    return wide


class Null(NamedTuple):
    """Mean and standard deviation of a query's cosines with passages that have nothing to do with it."""

    mean: float
    deviation: float


class VectorIndex:
    """All vectors of one embedder, in step with the database.

    Rows are appended and never moved; those of deleted contents are left out of results, and the whole is read again
    once they are the larger part. Safe to use from several threads.

    Args:
        fingerprint: The embedder's.
        dims: Its number of dimensions.
    """

    def __init__(self, fingerprint: str, dims: int) -> None:
        self.fingerprint = fingerprint
        self.dims = dims
        self._lock = threading.RLock()
        self._state = (0, 0)  # largest id and number of rows of the table when it was last read
        self._written: WeakKeyDictionary[Database, tuple[int, int]] = WeakKeyDictionary()
        self._has_searched = False
        self._reset()

    def __len__(self) -> int:
        return int(np.count_nonzero(self._alive[: self._count]))

    def refresh(self, db: Database) -> None:
        """Take over what was added to and deleted from the database since the last call."""
        with self._lock:
            # Counting the rows takes as long as they are many. Both numbers stay while nothing is written: one tells of
            # other connections, the other of this one.
            written = (db.execute("PRAGMA data_version").fetchone()[0], db.total_changes)
            if self._written.get(db) == written:
                return
            self._written[db] = written
            state = db.execute(
                "SELECT coalesce(max(id), 0), count(*) FROM vectors WHERE fingerprint = ?", [self.fingerprint]
            ).fetchone()
            if state == self._state:
                return
            self._append_new(db)
            if len(self._starts) != state[1]:
                self._drop_deleted(db)
            self._state = state
            alive = np.flatnonzero(self._alive[: self._count])
            self._mean = (self._total / (len(alive) + _MEAN_PRIOR)).astype(np.float32)
            sample = widened(self._half[alive[:: max(1, len(alive) // _NULL_SAMPLE)][:_NULL_SAMPLE]]) - self._mean
            self._sample = sample / np.maximum(np.linalg.norm(sample, axis=1, keepdims=True), np.float32(1e-3))

    def search(
        self, query: Floats, limit: int, *, hidden: Iterable[int] = (), only: Iterable[int] | None = None
    ) -> list[tuple[int, int, float]]:
        """Return ``(content, seq, cosine)`` of the nearest chunks, best first.

        Args:
            query: (D,) unit vector.
            limit: How many.
            hidden: Contents to leave out (before the best are taken, so that `limit` are found if there are any).
            only: Contents to look at, all by default.
        """
        with self._lock:
            rows = self._proposed(query, self._mask(hidden, only))
            scores = self._centred_cosines(rows, self._direction(query))
            top = np.argpartition(-scores, limit)[:limit] if len(scores) > limit else np.arange(len(scores))
            top = top[np.lexsort((rows[top], -scores[top]))]
            return [(*self._place(rows[i]), float(scores[i])) for i in top]

    def cosines(self, query: Floats, chunks: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
        """Return the exact cosine of every ``(content, seq)``; NaN where there is no vector (yet)."""
        result = np.full(len(chunks), np.nan)
        with self._lock:
            positions, rows = self._rows_of(chunks)
            result[positions] = self._centred_cosines(rows, self._direction(query))
        return result

    def vectors(self, chunks: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Floats]:
        """Return the vectors, as the embedder made them, of those ``(content, seq)`` that have one."""
        with self._lock:
            positions, rows = self._rows_of(chunks)
            wide = widened(self._half[rows])
            return {chunks[position]: wide[i] for i, position in enumerate(positions)}

    def null(self, query: Floats) -> Null:
        """Return how near a query is to passages at large, from an even sample of them."""
        with self._lock:
            cosines = _products(self._sample, self._direction(query))
        if len(cosines) < 2:
            return Null(0.0, 0.0)
        return Null(float(cosines.mean()), float(cosines.std()))

    def _reset(self) -> None:
        self._half: NDArray[np.float16] = np.zeros((0, self.dims), dtype=_STORED)
        self._count = 0
        self._contents = np.zeros(0, dtype=np.int64)  # content of each row
        self._alive = np.zeros(0, dtype=np.bool_)
        self._starts: dict[int, tuple[int, int]] = {}  # content -> first row, number of rows
        self._last_id = 0
        self._total = np.zeros(self.dims, dtype=np.float64)
        self._mean = np.zeros(self.dims, dtype=np.float32)
        self._sample = np.zeros((0, self.dims), dtype=np.float32)  # unit vectors, the mean taken away
        self._sketch: SignSketch | None = None
        self._sketched = 0  # rows when the sketch was begun, and its centre was right

    def _drop_deleted(self, db: Database) -> None:
        rows = db.execute("SELECT content FROM vectors WHERE fingerprint = ?", [self.fingerprint])
        present = {row[0] for row in rows}
        for content in [content for content in self._starts if content not in present]:
            start, count = self._starts.pop(content)
            self._alive[start : start + count] = False
            self._total -= widened(self._half[start : start + count]).sum(axis=0, dtype=np.float64)
        if len(self) < self._count / 2:
            self._reset()
            self._append_new(db)

    def _append_new(self, db: Database) -> None:
        arguments = [self.fingerprint, self._last_id]
        # In order of their ids as they lie: by the index, SQLite would sort the rows with all their bytes.
        where = "FROM vectors NOT INDEXED WHERE fingerprint = ? AND id > ?"
        size = db.execute(f"SELECT coalesce(sum(length(data)), 0) {where}", arguments).fetchone()[0]
        self._make_room(size // (self.dims * _STORED.itemsize))
        contents, counts = [], []
        for row_id, content, data in db.execute(f"SELECT id, content, data {where} ORDER BY id", arguments):
            half = np.frombuffer(data, dtype=_STORED).reshape(-1, self.dims)
            self._make_room(len(half))  # another process may have written since the sizes were added up
            self._half[self._count : self._count + len(half)] = half
            self._starts[content] = (self._count, len(half))
            contents.append(content)
            counts.append(len(half))
            self._count += len(half)
            self._last_id = row_id
        first = len(self._contents)
        self._contents = np.concatenate([self._contents, np.repeat(np.array(contents, np.int64), counts)])
        self._alive = np.concatenate([self._alive, np.ones(self._count - first, dtype=np.bool_)])
        for block in self._blocks(first):
            self._total += block.sum(axis=0)  # float32 is exact enough within a block

    def _make_room(self, rows: int) -> None:
        needed = self._count + rows
        if needed > len(self._half):
            # A little more than is needed once it grows, so that growing stays rare.
            grown = np.empty((needed + (self._count and needed // 4), self.dims), dtype=_STORED)
            grown[: self._count] = self._half[: self._count]
            self._half = grown

    def _blocks(self, first: int = 0) -> Iterator[Floats]:
        """Yield the rows from `first` on, some at a time."""
        for start in range(first, self._count, _BLOCK_ROWS):
            yield widened(self._half[start : min(start + _BLOCK_ROWS, self._count)])

    def _mask(self, hidden: Iterable[int], only: Iterable[int] | None) -> NDArray[np.bool_]:
        alive = self._alive[: self._count]
        if only is not None:
            allowed = np.zeros(int(self._contents.max(initial=0)) + 1, dtype=np.bool_)
            wanted = np.fromiter(only, dtype=np.int64)
            allowed[wanted[wanted < len(allowed)]] = True
            alive = alive & allowed[self._contents]
        hidden = [content for content in hidden if content in self._starts]
        if hidden:
            alive = alive.copy()
        for content in hidden:
            start, rows = self._starts[content]
            alive[start : start + rows] = False
        return alive

    def _proposed(self, query: Floats, mask: NDArray[np.bool_]) -> NDArray[np.intp]:
        """The rows that may be among the nearest: all that pass the mask where these are few, or the first time."""
        rows = np.flatnonzero(mask)
        is_first, self._has_searched = not self._has_searched, True
        wanted = max(_PROPOSED_ROWS, self._count // _PROPOSED_PART)
        if len(rows) <= max(_EXACT_ROWS, wanted) or (is_first and self._sketch is None):
            return rows
        distances = self._current_sketch().distances(query)
        if len(rows) < self._count:
            distances[~mask] = self._current_sketch().farthest
        # There are few distances, so counting them is faster than sorting; rows as far as the last come along.
        up_to = np.searchsorted(np.cumsum(np.bincount(distances)), wanted)
        return np.flatnonzero((distances <= up_to) & mask)

    def _current_sketch(self) -> SignSketch:
        # The centre may lag behind the mean a little: the sketch only proposes.
        if self._sketch is None or self._count >= 2 * self._sketched:
            self._sketch, self._sketched = SignSketch(self.dims, self._mean), self._count
        for block in self._blocks(len(self._sketch)):
            self._sketch.append(block)
        return self._sketch

    def _rows_of(self, chunks: Sequence[tuple[int, int]]) -> tuple[list[int], NDArray[np.intp]]:
        """Positions in `chunks` of those that have a vector, and their rows."""
        known = [(i, self._starts[c][0] + seq) for i, (c, seq) in enumerate(chunks) if c in self._starts]
        return [i for i, _ in known], np.array([row for _, row in known], dtype=np.intp)

    def _place(self, row: np.intp) -> tuple[int, int]:
        content = int(self._contents[row])
        return content, int(row - self._starts[content][0])

    def _centred_cosines(self, rows: NDArray[np.intp], direction: Floats) -> Floats:
        """Cosines of rows and a unit direction, the mean taken from the rows."""
        scores = np.zeros(len(rows), dtype=np.float32)
        for start in range(0, len(rows), _BLOCK_ROWS):
            part = rows[start : start + _BLOCK_ROWS]
            is_run = part[-1] - part[0] == len(part) - 1  # a slice is read faster than a list of rows
            vectors = widened(self._half[part[0] : part[-1] + 1] if is_run else self._half[part])
            vectors -= self._mean
            norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
            np.divide(_products(vectors, direction), norms, out=scores[start : start + len(part)], where=norms > 1e-3)
        return scores

    def _direction(self, query: Floats) -> Floats:
        centred = query - self._mean
        length = float(np.linalg.norm(centred))
        # An empty query embeds to zero: it is near nothing.
        return np.zeros_like(query) if not query.any() or length < 1e-6 else centred / np.float32(length)


def _products(vectors: Floats, direction: Floats) -> Floats:
    """(N, D) times (D,), in this thread: BLAS would wake others for it, and wait for them on a busy machine."""
    return np.einsum("nd,d->n", vectors, direction)
