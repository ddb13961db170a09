"""The texts of chunks in compressed blocks: neighbours of one document together.

A block is small enough to be opened for a single hit (20 microseconds), and large enough that it takes a third of its
text's room. ISA-L writes what zlib reads, in a third of the time: with zlib's own level 1, compressing was a third of
all that is done to a document before it is stored. Headings lie apart from the texts, for ranking looks at many
headings and few texts.
"""

import json
import zlib
from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate, pairwise
from json.encoder import encode_basestring

from isal import isal_zlib

from mlx_mixer.documents.records import Block, ChunkData

# Of bodies in a block. Less room is taken by none: larger ones fit worse into the pages of the file.
BLOCK_CHARACTERS = 5000
# Of 0 to 3; 0 takes a seventh more room, 3 twice the time.
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
    # As JSON; `json.dumps` would make an encoder for every call.
    headings = f"[{', '.join(encode_basestring(chunk.heading) for chunk in chunks)}]"
    return Block(first, isal_zlib.compress(headings.encode(), _LEVEL), isal_zlib.compress(texts.encode(), _LEVEL))


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
