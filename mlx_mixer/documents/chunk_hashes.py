"""Which chunks have the same text, so that a vector is made once: a table of hashes, written with the vectors."""

from collections.abc import Iterable
from hashlib import blake2b

from mlx_mixer.documents.connection import Database


def chunk_hash(embedded: str) -> bytes:
    """Return the BLAKE2b-16 of what is embedded of a chunk."""
    return blake2b(embedded.encode("utf-8", "replace"), digest_size=16).digest()


def remember_hashes(db: Database, chunks: Iterable[tuple[bytes, int]]) -> None:
    """Note hashes and ids of chunks that have a vector."""
    db.executemany(
        "INSERT OR IGNORE INTO chunk_hashes (hash, chunk) VALUES (?, ?)",
        [(_key(digest), chunk) for digest, chunk in chunks],
    )


def vector_of_hash(db: Database, digest: bytes, fingerprint: str, dims: int) -> bytes | None:
    """Return the vector, as it is stored, of some chunk with this hash; None if no such chunk has one.

    Args:
        db: The library.
        digest: From `chunk_hash`.
        fingerprint: The embedder's.
        dims: Its number of dimensions.
    """
    row = db.execute(
        "SELECT substr(v.data, 1 + (h.chunk - c.first_chunk) * ?, ?) FROM chunk_hashes h"
        " JOIN chunk_places p ON p.id = h.chunk JOIN contents c ON c.id = p.content"
        " JOIN vectors v ON v.fingerprint = ? AND v.content = p.content WHERE h.hash = ? LIMIT 1",
        [2 * dims, 2 * dims, fingerprint, _key(digest)],
    ).fetchone()
    return None if row is None else bytes(row[0])


def forget_hashes(db: Database) -> None:
    """Take out the hashes of chunks that are not there any more."""
    db.execute("DELETE FROM chunk_hashes WHERE NOT EXISTS (SELECT 1 FROM chunk_places WHERE id = chunk_hashes.chunk)")


def _key(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big", signed=True)
