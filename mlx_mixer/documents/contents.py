"""Documents in the library: found by their content, stored with their chunks and words; inside a write transaction."""

from collections.abc import Sequence

from mlx_mixer.documents.blocks import insert_blocks
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.records import ContentData
from mlx_mixer.documents.rows import insert_rows

# Memory for words before FTS5 writes them out as a piece of index. Its own choice is 1 MB: less than half a batch.
_WORD_BYTES = 8_000_000


def find_content(db: Database, content_hash: bytes, reader: str, reader_version: int) -> int | None:
    """Return the id of a document that was stored before."""
    row = db.execute(
        "SELECT id FROM contents WHERE hash = ? AND reader = ? AND reader_version = ?",
        [content_hash, reader, reader_version],
    ).fetchone()
    return row[0] if row else None


def save_contents(db: Database, contents: Sequence[ContentData]) -> list[int]:
    """Store documents, their chunks and their words; return their ids (the old one of what is there already)."""
    ids: list[int] = []
    places: list[tuple[int, int, int, int, int | None]] = []
    words: list[tuple[int, str, str, str]] = []
    chunk_id = _next_chunk(db)
    for content in contents:
        known = find_content(db, content.hash, content.reader, content.reader_version)
        if known is not None:
            ids.append(known)
            continue
        content_id = _insert_content(db, content, chunk_id)
        insert_blocks(db, chunk_id, content.blocks)
        for start, line, page, heading, body, identifiers in content.chunks:
            places.append((chunk_id, content_id, start, line, page))
            words.append((chunk_id, heading, body, identifiers))
            chunk_id += 1
        ids.append(content_id)
    insert_rows(db, "INSERT INTO chunk_places (id, content, start, line, page)", places)
    db.executemany("INSERT INTO chunks_fts (rowid, heading, body, identifiers) VALUES (?, ?, ?, ?)", words)
    return ids


def give_words_room(db: Database) -> None:
    """Have a batch's words written in one go; the index remembers that."""
    if db.execute("SELECT 1 FROM chunks_fts_config WHERE k = 'hashsize' AND v = ?", [_WORD_BYTES]).fetchone() is None:
        db.execute("INSERT INTO chunks_fts (chunks_fts, rank) VALUES ('hashsize', ?)", [_WORD_BYTES])


def _next_chunk(db: Database) -> int:
    """Return the id that the next chunk gets."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'chunk_places'").fetchone()
    return 1 + (row[0] if row else 0)


def _insert_content(db: Database, content: ContentData, first_chunk: int) -> int:
    cursor = db.execute(
        "INSERT INTO contents (hash, reader, reader_version, title, encoding, characters, note, page_kind, chunk_count,"
        " first_chunk) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            content.hash,
            content.reader,
            content.reader_version,
            content.title,
            content.encoding,
            content.characters,
            content.note,
            content.page_kind,
            len(content.chunks),
            first_chunk,
        ],
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid
