"""How the texts of chunks lie in the library: packed (see packing.py), and SQL sees through the blocks all the same.

That it does by the functions below, which every connection to a library has; a text is read from the view `chunks`.
"""

import sqlite3
from collections.abc import Iterable

from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.packing import unpacked_headings, unpacked_texts
from mlx_mixer.documents.records import Block


def insert_blocks(db: Database, first_chunk: int, blocks: Iterable[Block]) -> None:
    """Store the blocks of a document whose first chunk has, or will have, this id."""
    db.executemany(
        "INSERT INTO blocks (id, headings, texts) VALUES (?, ?, ?)",
        [(first_chunk + block.first, block.headings, block.texts) for block in blocks],
    )


def _heading(headings: bytes, index: int) -> str:
    return unpacked_headings(headings)[index]


def _body(texts: bytes, index: int) -> str:
    return unpacked_texts(texts)[index]


def _identifiers(texts: bytes, index: int) -> str:
    pieces = unpacked_texts(texts)
    return pieces[len(pieces) // 2 + index]


def add_functions(connection: sqlite3.Connection) -> None:
    """Let a connection read the texts of chunks.

    The functions are named in the schema, which some builds of SQLite trust only when told to.
    """
    connection.execute("PRAGMA trusted_schema = ON")
    for name, function in (("block_heading", _heading), ("block_body", _body), ("block_identifiers", _identifiers)):
        connection.create_function(name, 2, function, deterministic=True)
