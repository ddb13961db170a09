"""More like this: what lies nearest a stored passage, by the vectors that are there. Nothing is embedded."""

import os

from mlx_mixer.documents.candidates import nearest, scope_of
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.lexical import Place
from mlx_mixer.documents.query import Query
from mlx_mixer.documents.vectors import Floats, VectorIndex
from mlx_mixer.errors import LibraryError

# Neighbours are gathered beyond the limit, for those of one file count as one.
GATHERED = 200


def place_of(db: Database, path: bytes, line: int | None) -> Place:
    """Return the place of the passage that holds a line of a file (its first passage without one).

    Raises:
        LibraryError: If the file is not in the library, or has no text.
    """
    row = db.execute(
        "SELECT h.content, h.seq FROM files f JOIN chunks h ON h.content = f.content"
        " WHERE f.path = ? AND h.line <= ? ORDER BY h.line DESC, h.id DESC LIMIT 1"
        if line is not None
        else "SELECT h.content, h.seq FROM files f JOIN chunks h ON h.content = f.content"
        " WHERE f.path = ? ORDER BY h.id LIMIT 1",
        [path] if line is None else [path, max(line, 1)],
    ).fetchone()
    if row is None:
        raise LibraryError(
            f"{os.fsdecode(path)} has no passage in the library; add it with: mlx-mixer docs add {os.fsdecode(path)}"
        )
    return row[0], row[1]


def place_of_chunk(db: Database, chunk_id: int) -> Place:
    """Return the place of a chunk.

    Raises:
        LibraryError: If it is not in the library any more.
    """
    row = db.execute("SELECT content, seq FROM chunks WHERE id = ?", [chunk_id]).fetchone()
    if row is None:
        raise LibraryError("this passage is not in the library any more; search again")
    return row[0], row[1]


def vector_of(index: VectorIndex, place: Place) -> Floats:
    """Return a passage's stored vector.

    Raises:
        LibraryError: If it has none (yet).
    """
    vectors = index.vectors([place])
    if place not in vectors:
        raise LibraryError("this passage is not embedded yet; go on with: mlx-mixer docs add")
    return vectors[place]


def similar_places(db: Database, index: VectorIndex, place: Place, query: Query) -> list[tuple[Place, float]]:
    """Return places and cosines of what is like a passage, nearest first; its own document is left out."""
    vector = vector_of(index, place)
    found = nearest(index, vector, scope_of(db, query), GATHERED)
    return [(near, cosine) for near, cosine in found if near[0] != place[0]]
