"""Vectors of chunks: how they lie in the database, and an exact search over all of them in memory.

No approximate index: to 200,000 chunks one matrix product is faster than any extension's table, gives the exact cosine
of every candidate of the other leg, and leaves no second file that a crash could put out of step.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

Floats = NDArray[np.float32]
Kind = Literal["document", "query"]

_BLOCK_ROWS = 8192
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


class VectorIndex:
    """All vectors of one embedder, in step with the database.

    Rows are appended in blocks and never moved; those of deleted contents are left out of results, and the whole is
    read again once they are the larger part. Safe to use from several threads.

    Args:
        fingerprint: The embedder's.
        dims: Its number of dimensions.
    """

    def __init__(self, fingerprint: str, dims: int) -> None:
        self.fingerprint = fingerprint
        self.dims = dims
        self._lock = threading.RLock()
        self._state = (0, 0)  # largest id and number of rows of the table when it was last read
        self._reset()

    def __len__(self) -> int:
        return int(np.count_nonzero(self._alive[: self._count]))

    def refresh(self, db: Database) -> None:
        """Take over what was added to and deleted from the database since the last call."""
        with self._lock:
            state = db.execute(
                "SELECT coalesce(max(id), 0), count(*) FROM vectors WHERE fingerprint = ?", [self.fingerprint]
            ).fetchone()
            if state == self._state:
                return
            self._drop_deleted(db)
            self._append_new(db)
            self._state = state
            self._centre()

    def search(self, query: Floats, limit: int, *, hidden: Iterable[int] = ()) -> list[tuple[int, int, float]]:
        """Return ``(content, seq, cosine)`` of the nearest chunks, best first.

        Args:
            query: (D,) unit vector.
            limit: How many.
            hidden: Contents to leave out (before the best are taken, so that `limit` are found if there are any).
        """
        with self._lock:
            scores = self._cosines(query)
            scores[~self._alive[: self._count]] = -np.inf
            for content in hidden:
                if content in self._starts:
                    start, rows = self._starts[content]
                    scores[start : start + rows] = -np.inf
            top = np.argpartition(-scores, limit)[:limit] if len(scores) > limit else np.arange(len(scores))
            top = top[np.argsort(-scores[top], kind="stable")]
            return [
                (int(self._contents[row]), int(row - self._starts[int(self._contents[row])][0]), float(scores[row]))
                for row in top
                if np.isfinite(scores[row])
            ]

    def cosines(self, query: Floats, chunks: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
        """Return the exact cosine of every ``(content, seq)``; NaN where there is no vector (yet)."""
        result = np.full(len(chunks), np.nan)
        with self._lock:
            known = [(i, self._starts[c][0] + seq) for i, (c, seq) in enumerate(chunks) if c in self._starts]
            if known:
                positions, rows = np.array(known).T
                vectors = np.stack([self._blocks[row // _BLOCK_ROWS][row % _BLOCK_ROWS] for row in rows])
                result[positions] = self._centred_cosines(vectors, rows, query)
        return result

    def _reset(self) -> None:
        self._blocks: list[Floats] = []
        self._count = 0
        self._contents = np.zeros(0, dtype=np.int64)  # (rows,) content of each row
        self._alive = np.zeros(0, dtype=np.bool_)
        self._starts: dict[int, tuple[int, int]] = {}  # content -> first row, number of rows
        self._last_id = 0
        self._mean = np.zeros(self.dims, dtype=np.float32)
        self._norms = np.zeros(0, dtype=np.float32)

    def _drop_deleted(self, db: Database) -> None:
        rows = db.execute("SELECT content FROM vectors WHERE fingerprint = ?", [self.fingerprint])
        present = {row[0] for row in rows}
        for content in [content for content in self._starts if content not in present]:
            start, count = self._starts.pop(content)
            self._alive[start : start + count] = False
        if len(self) < self._count / 2:
            self._reset()

    def _append_new(self, db: Database) -> None:
        rows = db.execute(
            "SELECT id, content, data FROM vectors WHERE fingerprint = ? AND id > ? ORDER BY id",
            [self.fingerprint, self._last_id],
        )
        contents: list[NDArray[np.int64]] = [self._contents]
        for row_id, content, data in rows:
            vectors = from_blob(data, self.dims)
            self._starts[content] = (self._count, len(vectors))
            contents.append(np.full(len(vectors), content, dtype=np.int64))
            self._append_rows(vectors)
            self._last_id = row_id
        self._contents = np.concatenate(contents)
        self._alive = np.concatenate([self._alive, np.ones(self._count - len(self._alive), dtype=np.bool_)])

    def _append_rows(self, vectors: Floats) -> None:
        while len(vectors):
            used = self._count % _BLOCK_ROWS
            if used == 0:
                self._blocks.append(np.zeros((_BLOCK_ROWS, self.dims), dtype=np.float32))
            taken = vectors[: _BLOCK_ROWS - used]
            self._blocks[-1][used : used + len(taken)] = taken
            self._count += len(taken)
            vectors = vectors[len(taken) :]

    def _centre(self) -> None:
        """Compute the mean and every row's distance from it: |x - m|^2 = |x|^2 - 2 x.m + |m|^2."""
        alive = self._alive[: self._count]
        total = np.zeros(self.dims, dtype=np.float64)
        for number, block in enumerate(self._used_blocks()):
            rows = alive[number * _BLOCK_ROWS :][: len(block)]
            total += rows.astype(np.float32) @ block
        self._mean = (total / (np.count_nonzero(alive) + _MEAN_PRIOR)).astype(np.float32)
        squares = [
            np.einsum("nd,nd->n", block, block) - 2.0 * (block @ self._mean) + self._mean @ self._mean
            for block in self._used_blocks()
        ]
        self._norms = np.sqrt(np.maximum(np.concatenate(squares), 0.0)) if squares else np.zeros(0, dtype=np.float32)

    def _used_blocks(self) -> list[Floats]:
        return [
            block[: min(_BLOCK_ROWS, self._count - number * _BLOCK_ROWS)] for number, block in enumerate(self._blocks)
        ]

    def _cosines(self, query: Floats) -> Floats:
        direction = self._direction(query)
        products = [block @ direction for block in self._used_blocks()]
        if not products:
            return np.zeros(0, dtype=np.float32)
        return self._divided(np.concatenate(products) - self._mean @ direction, self._norms)

    def _centred_cosines(self, vectors: Floats, rows: NDArray[np.int64], query: Floats) -> Floats:
        direction = self._direction(query)
        return self._divided(vectors @ direction - self._mean @ direction, self._norms[rows])

    def _direction(self, query: Floats) -> Floats:
        centred = query - self._mean
        length = float(np.linalg.norm(centred))
        # An empty query embeds to zero: it is near nothing.
        return np.zeros_like(query) if not query.any() or length < 1e-6 else centred / np.float32(length)

    @staticmethod
    def _divided(products: Floats, norms: Floats) -> Floats:
        return np.divide(products, norms, out=np.zeros_like(products), where=norms > 1e-3)
