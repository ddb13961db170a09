"""A prepared document on its way from the process that prepares to the one that stores.

`marshal` takes a tenth of what pickling takes here. It is for data of the same Python from a process of our own, whose
readers are our own too: whatever needs a foreign parser is read elsewhere (see wire.py).
"""

import marshal
from typing import Any

from mlx_mixer.documents.readers import Reader
from mlx_mixer.documents.records import Block, ChunkData, ContentData

# Later versions look for repeated objects, which takes time and finds none.
_VERSION = 2


def pack_prepared(prepared: ContentData | str) -> bytes:
    """Pack a document, all but what the other side knows of it; or the reason why there is none."""
    if isinstance(prepared, str):
        return marshal.dumps(prepared, _VERSION)
    facts = (prepared.title, prepared.encoding, prepared.characters, prepared.note, prepared.page_kind)
    chunks, blocks = list(map(tuple, prepared.chunks)), list(map(tuple, prepared.blocks))
    return marshal.dumps((*facts, chunks, blocks), _VERSION)


def unpack_prepared(packed: bytes, digest: bytes, reader: Reader) -> ContentData | str:
    """Return what was packed.

    Args:
        packed: From `pack_prepared`.
        digest: Hash of the file's bytes.
        reader: Its reader.
    """
    prepared: Any = marshal.loads(packed)  # noqa: S302  (our own process wrote it)
    if isinstance(prepared, str):
        return prepared
    title, encoding, characters, note, page_kind, chunks, blocks = prepared
    return ContentData(
        digest,
        reader.name,
        reader.version,
        title,
        encoding,
        characters,
        note,
        page_kind,
        list(map(ChunkData._make, chunks)),
        list(map(Block._make, blocks)),
    )
