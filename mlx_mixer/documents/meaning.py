"""Stage two: give every chunk its vector, in batches that are committed as they are done.

The queue is the absence of a row in `vectors`; there is no other state, so a kill costs the batch at hand and nothing
has to be repaired. A chunk whose text was embedded before, in whatever document, takes that vector over.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from mlx_mixer.documents.chunk_hashes import chunk_hash, remember_hashes, vector_of_hash
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.events import Progress, Tally
from mlx_mixer.documents.prepare import embedding_text
from mlx_mixer.documents.transactions import write_transaction
from mlx_mixer.documents.vectors import Floats, TextEmbedder, from_blob, to_blob
from mlx_mixer.errors import LibraryError

# Chunks per transaction, and per call of the embedder.
_BATCH_CHUNKS = 256
_EMBED_CHUNKS = 64

_PENDING = """
    FROM contents WHERE unreferenced_since IS NULL
    AND NOT EXISTS (SELECT 1 FROM vectors WHERE fingerprint = ? AND vectors.content = contents.id)
"""


class _Chunk(NamedTuple):
    id: int
    content: int
    hash: bytes
    text: str


def pending_chunks(db: Database, fingerprint: str) -> int:
    """How many chunks have no vector of this embedder."""
    return int(db.execute(f"SELECT coalesce(sum(chunk_count), 0) {_PENDING}", [fingerprint]).fetchone()[0])


def embed_pending(
    db: Database,
    embedder: TextEmbedder,
    tally: Tally,
    *,
    progress: Callable[[Progress], None],
    is_cancelled: Callable[[], bool],
) -> None:
    """Embed everything that has no vector yet; the caller holds the writer lock."""
    total = pending_chunks(db, embedder.fingerprint)
    done = 0
    for contents in _batches(db, embedder.fingerprint):
        chunks = [chunk for content in contents for chunk in _chunks(db, content)]
        vectors = _known_vectors(db, embedder, chunks)
        tally.reused += sum(chunk.hash in vectors for chunk in chunks)
        new = list({chunk.hash: chunk.text for chunk in chunks if chunk.hash not in vectors}.items())
        for start in range(0, len(new), _EMBED_CHUNKS):
            if is_cancelled():
                tally.cancelled = True
                return
            part = new[start : start + _EMBED_CHUNKS]
            vectors.update(
                zip((digest for digest, _ in part), _embed(embedder, [text for _, text in part]), strict=True)
            )
            tally.embedded += len(part)
            progress(Progress("meaning", done + min(start + len(part), len(chunks)), total))
        _save(db, embedder, chunks, vectors)
        done += len(chunks)
        progress(Progress("meaning", done, total))


def _batches(db: Database, fingerprint: str) -> Iterator[list[int]]:
    """Yield the pending contents, about `_BATCH_CHUNKS` chunks at a time."""
    batch: list[int] = []
    size = 0
    for content, count in db.execute(f"SELECT id, chunk_count {_PENDING} ORDER BY id", [fingerprint]).fetchall():
        if batch and size + count > _BATCH_CHUNKS:
            yield batch
            batch, size = [], 0
        batch.append(content)
        size += count
    if batch:
        yield batch


def _chunks(db: Database, content: int) -> list[_Chunk]:
    rows = db.execute("SELECT id, heading, body FROM chunks WHERE content = ? ORDER BY id", [content])
    texts = [(chunk, embedding_text(heading, body)) for chunk, heading, body in rows]
    return [_Chunk(chunk, content, chunk_hash(text), text) for chunk, text in texts]


def _known_vectors(db: Database, embedder: TextEmbedder, chunks: list[_Chunk]) -> dict[bytes, Floats]:
    """Find the vectors of chunks with the same text, in any document."""
    known: dict[bytes, Floats] = {}
    for digest in {chunk.hash for chunk in chunks}:
        data = vector_of_hash(db, digest, embedder.fingerprint, embedder.dims)
        if data is not None:
            known[digest] = from_blob(data, embedder.dims)[0]
    return known


def _embed(embedder: TextEmbedder, texts: list[str]) -> Floats:
    vectors = embedder.embed(texts, "document")
    if vectors.shape != (len(texts), embedder.dims) or not np.isfinite(vectors).all():
        raise LibraryError(f"the embedder returned something else than {len(texts)} x {embedder.dims} finite numbers")
    return vectors


def _save(db: Database, embedder: TextEmbedder, chunks: list[_Chunk], vectors: dict[bytes, Floats]) -> None:
    documents: dict[int, list[Floats]] = {}
    for chunk in chunks:
        documents.setdefault(chunk.content, []).append(vectors[chunk.hash])
    with write_transaction(db):
        for content, rows in documents.items():
            db.execute(
                "INSERT INTO vectors (content, fingerprint, dims, data) SELECT id, ?, ?, ? FROM contents WHERE id = ?",
                [embedder.fingerprint, embedder.dims, to_blob(np.stack(rows)), content],
            )
        remember_hashes(db, ((chunk.hash, chunk.id) for chunk in chunks))
