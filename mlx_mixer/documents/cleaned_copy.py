"""A copy of documents in memory without what gives known items away, to look for them in.

It is a library like any other, written by the functions that write the user's own, so it ranks as that does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlx_mixer.documents import store
from mlx_mixer.documents.blocks import add_functions
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.contents import save_contents
from mlx_mixer.documents.events import Progress, Tally
from mlx_mixer.documents.known_items import KnownItem
from mlx_mixer.documents.meaning import embed_pending
from mlx_mixer.documents.migrations import migrate
from mlx_mixer.documents.packing import pack
from mlx_mixer.documents.passages import stored_document
from mlx_mixer.documents.records import ChunkData, ContentData, FileData
from mlx_mixer.documents.scan import is_inside
from mlx_mixer.documents.vectors import Meaning, TextEmbedder, VectorIndex
from mlx_mixer.documents.words import identifier_words, path_words

MOST_CHUNKS = 20_000


@dataclass(frozen=True)
class CleanedCopy:
    """The copy.

    Attributes:
        db: Its connection, of this thread.
        items: The items, their `content` that of the copy.
        chunks: How many passages they are among.
    """

    db: Database
    items: Sequence[KnownItem]
    chunks: int

    def meaning(
        self,
        embedder: TextEmbedder,
        *,
        progress: Callable[[Progress], None],
        is_cancelled: Callable[[], bool],
    ) -> Meaning:
        """Embed what of the copy this embedder has not seen."""
        embed_pending(self.db, embedder, Tally(), progress=progress, is_cancelled=is_cancelled)
        return Meaning(embedder, VectorIndex(embedder.fingerprint, embedder.dims))

    def close(self) -> None:
        self.db.close()


def cleaned_copy(
    db: Database,
    items: Sequence[KnownItem],
    *,
    most_chunks: int = MOST_CHUNKS,
    fingerprint: str | None = None,
    only_embedded: bool = False,
) -> CleanedCopy:
    """Copy the documents of some items, and others evenly over the library, without what gives the items away.

    Args:
        db: The library.
        items: The items.
        most_chunks: Other documents are taken up to this many passages in all.
        fingerprint: Take this embedder's vectors of documents that stay as they are, where it has seen them.
        only_embedded: Take no documents that it has not seen.
    """
    copy = Database(":memory:", isolation_level=None, check_same_thread=False)
    add_functions(copy)
    migrate(copy)
    cleaned = _cleaned(items)
    roots = [row[0] for row in db.execute("SELECT path FROM roots")]
    copy.execute("BEGIN")
    ids: dict[int, int] = {}
    count = 0
    for content in _chosen(db, set(cleaned), most_chunks, fingerprint if only_embedded else None):
        ids[content], chunks = _copy_content(db, copy, content, cleaned.get(content, {}), roots)
        count += chunks
        if fingerprint is not None and content not in cleaned:
            _copy_vectors(db, copy, content, ids[content], fingerprint)
    copy.execute("COMMIT")
    moved = [replace(item, content=ids[item.content]) for item in items if item.content in ids]
    return CleanedCopy(copy, moved, count)


def _cleaned(items: Sequence[KnownItem]) -> dict[int, dict[int, tuple[str, str]]]:
    """What changes, by document and passage."""
    cleaned: dict[int, dict[int, tuple[str, str]]] = {}
    for item in items:
        document = cleaned.setdefault(item.content, {})
        for seq, text in item.cleaned.items():
            before = document.get(seq)
            # Two items in one passage: the shorter text of each, which is the one with less in it.
            document[seq] = text if before is None else _shorter(before, text)
    return cleaned


def _shorter(first: tuple[str, str], second: tuple[str, str]) -> tuple[str, str]:
    return min(first[0], second[0], key=len), min(first[1], second[1], key=len)


def _chosen(db: Database, needed: set[int], most_chunks: int, fingerprint: str | None) -> list[int]:
    rows = db.execute(
        "SELECT id, chunk_count FROM contents c WHERE unreferenced_since IS NULL AND"
        " (? IS NULL OR EXISTS (SELECT 1 FROM vectors v WHERE v.content = c.id AND v.fingerprint = ?))",
        [fingerprint, fingerprint],
    )
    sizes = dict(rows.fetchall())
    chosen = [content for content in sorted(needed) if content in sizes]
    total = sum(sizes[content] for content in chosen)
    others = [content for content in sizes if content not in needed]
    for content in np.random.default_rng(1).permutation(np.array(others, dtype=np.int64)).tolist():
        if total + sizes[content] <= most_chunks:
            chosen.append(content)
            total += sizes[content]
    return chosen


def _copy_content(
    db: Database, copy: Database, content: int, cleaned: Mapping[int, tuple[str, str]], roots: Sequence[bytes]
) -> tuple[int, int]:
    """Copy a document and where it lies; return its id in the copy and its number of passages."""
    chunks = []
    for chunk in stored_document(db, content).chunks:
        heading, body = cleaned.get(chunk.seq, (chunk.heading, chunk.body))
        chunks.append(ChunkData(chunk.start, chunk.line, chunk.page, heading, body, identifier_words(body)))
    data = ContentData(str(content).encode(), "copy", 0, "", "", 0, "", "", chunks, pack(chunks))
    (copied,) = save_contents(copy, [data])
    for (path,) in db.execute("SELECT path FROM files WHERE content = ? AND missing_since IS NULL", [content]):
        root = max((root for root in roots if is_inside(path, root)), key=len, default=b"/")
        root_id, _ = store.ensure_root(copy, root)
        store.save_files(copy, root_id, [FileData(path, path_words(path, root), content=copied)], now=0)
    return copied, len(chunks)


def _copy_vectors(db: Database, copy: Database, content: int, copied: int, fingerprint: str) -> None:
    for row in db.execute(
        "SELECT fingerprint, dims, data FROM vectors WHERE content = ? AND fingerprint = ?", [content, fingerprint]
    ):
        copy.execute("INSERT INTO vectors (content, fingerprint, dims, data) VALUES (?, ?, ?, ?)", [copied, *row])
