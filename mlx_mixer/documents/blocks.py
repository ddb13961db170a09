"""How the texts of chunks lie in the library: neighbours of one document together in a block, compressed.

A block is small enough to be opened for a single hit (20 microseconds), and large enough that it takes a third of its
text's room; at the level chosen here compressing is several times as fast as finding the words. Headings lie apart from
the texts, for ranking looks at many headings and few texts. SQL sees through the blocks by the functions below, which
every connection to a library has; a text is read from the view `chunks`.
"""

import json
import sqlite3
import zlib
from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate, pairwise

from sqlite_utils import Database

from mlx_mixer.documents.records import Block, ChunkData

# Of bodies in a block. Less room is taken by none: larger ones fit worse into the pages of the file.
BLOCK_CHARACTERS = 5000
# 1 is twice as fast as the usual 6, and takes a tenth more room.
_LEVEL = 1
# What some searches in a row look at; two megabytes.
_OPEN_BLOCKS = 256


def pack(chunks: Iterable[ChunkData]) -> list[Block]:
    """Put the chunks of a document into blocks, in order."""
    blocks: list[Block] = []
    waiting: list[ChunkData] = []
    first = size = 0
    for number, chunk in enumerate(chunks):
        if waiting and size + len(chunk.body) > BLOCK_CHARACTERS:
            blocks.append(_packed(first, waiting))
            waiting, first, size = [], number, 0
        waiting.append(chunk)
        size += len(chunk.body)
    if waiting:
        blocks.append(_packed(first, waiting))
    return blocks


def _packed(first: int, chunks: list[ChunkData]) -> Block:
    # The lengths, in characters, stand before the texts: no letter can be mistaken for what separates them.
    pieces = [chunk.body for chunk in chunks] + [chunk.identifiers for chunk in chunks]
    texts = f"{' '.join(map(str, map(len, pieces)))}\n{''.join(pieces)}"
    headings = json.dumps([chunk.heading for chunk in chunks], ensure_ascii=False)
    return Block(first, zlib.compress(headings.encode(), _LEVEL), zlib.compress(texts.encode(), _LEVEL))


@lru_cache(maxsize=_OPEN_BLOCKS)
def unpacked_headings(headings: bytes) -> tuple[str, ...]:
    """Return the headings of the chunks of a block."""
    return tuple(json.loads(zlib.decompress(headings)))


@lru_cache(maxsize=_OPEN_BLOCKS)
def unpacked_texts(texts: bytes) -> tuple[str, ...]:
    """Return the bodies of the chunks of a block, and then their identifiers."""
    lengths, _, text = zlib.decompress(texts).decode().partition("\n")
    ends = accumulate(map(int, lengths.split()), initial=0)
    return tuple(text[start:end] for start, end in pairwise(ends))


def insert_blocks(db: Database, first_chunk: int, blocks: Iterable[Block]) -> None:
    """Store the blocks of a document whose first chunk has, or will have, this id."""
    db.conn.executemany(
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
