"""Numbered steps from any older schema to the newest, applied together or not at all.

All steps and the version number share one `BEGIN IMMEDIATE`: in deferred transactions of their own they would fail
when several processes open a new library at once.
"""

from collections.abc import Callable, Sequence

from mlx_mixer.documents.blocks import insert_blocks
from mlx_mixer.documents.chunk_hashes import remember_hashes
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.events import Progress
from mlx_mixer.documents.packing import pack
from mlx_mixer.documents.records import ChunkData
from mlx_mixer.documents.schema import APPLICATION_ID, SCHEMA_V1, SCHEMA_V2, SCHEMA_V4, SCHEMA_V4_VIEW
from mlx_mixer.documents.transactions import write_transaction
from mlx_mixer.documents.words import identifier_words, suffix_of
from mlx_mixer.errors import LibraryError

Report = Callable[[Progress], None]
Migration = Callable[[Database, Report], None]


def create_schema(db: Database, _: Report) -> None:
    for statement in SCHEMA_V1:
        db.execute(statement)


def add_pages_and_suffixes(db: Database, _: Report) -> None:
    for statement in SCHEMA_V2:
        db.execute(statement)
    rows = db.execute("SELECT id, path FROM files").fetchall()
    db.executemany("UPDATE files SET suffix = ? WHERE id = ?", [(suffix_of(path), file) for file, path in rows])


def add_cjk_pairs(db: Database, _: Report) -> None:
    """Put pairs of Chinese, Japanese and Korean letters among the searchable words of chunks that have such letters."""
    rows = db.execute(
        "SELECT id, heading, body, identifiers FROM chunks WHERE heading || body GLOB '*[\u3005-\u9fff\uac00-\ud7a3]*'"
    ).fetchall()
    for chunk, heading, body, old in rows:
        new = identifier_words(body)
        db.execute(
            "INSERT INTO chunks_fts (chunks_fts, rowid, heading, body, identifiers) VALUES ('delete', ?, ?, ?, ?)",
            [chunk, heading, body, old],
        )
        db.execute("UPDATE chunks SET identifiers = ? WHERE id = ?", [new, chunk])
        db.execute(
            "INSERT INTO chunks_fts (rowid, heading, body, identifiers) VALUES (?, ?, ?, ?)",
            [chunk, heading, body, new],
        )


# What the pages of a document are called, by its reader or, where that reads several kinds, by the suffix of a file.
_PAGE_KINDS = {"pdf": "page", "pptx": "slide", "xlsx": "sheet", "notebook": "cell", "mailbox": "message"}
_PAGE_KINDS_BY_SUFFIX = {"odp": "slide", "ods": "sheet"}


def pack_texts(db: Database, report: Report) -> None:
    """Move the texts of chunks into compressed blocks; their ids, and so the index of words, stay as they are."""
    for statement in SCHEMA_V4:
        db.execute(statement)
    contents = db.execute(
        "SELECT id, reader, chunk_count, (SELECT suffix FROM files WHERE files.content = contents.id LIMIT 1),"
        " EXISTS (SELECT 1 FROM vectors WHERE vectors.content = contents.id) FROM contents ORDER BY id"
    ).fetchall()
    for number, (content, reader, count, suffix, has_vectors) in enumerate(contents):
        report(Progress("upgrade", number, len(contents)))
        rows = db.execute(
            "SELECT id, start, line, page, heading, body, identifiers, hash FROM chunks WHERE content = ? ORDER BY seq",
            [content],
        ).fetchall()
        first = rows[0][0] if rows else 0
        if [row[0] for row in rows] != list(range(first, first + count)):
            raise LibraryError("the passages of a document in this library are not complete; it was left untouched")
        insert_blocks(db, first, pack(ChunkData(*row[1:7]) for row in rows))
        db.executemany(
            "INSERT INTO chunk_places (id, content, start, line, page) VALUES (?, ?, ?, ?, ?)",
            [(row[0], content, *row[1:4]) for row in rows],
        )
        has_pages = any(row[3] is not None for row in rows)
        kind = (_PAGE_KINDS.get(reader) or _PAGE_KINDS_BY_SUFFIX.get(suffix, "")) if has_pages else ""
        db.execute("UPDATE contents SET first_chunk = ?, page_kind = ? WHERE id = ?", [first, kind, content])
        if has_vectors:
            remember_hashes(db, ((row[7], row[0]) for row in rows))
    # Ids of chunks that are gone are not given away again.
    used = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'chunks'").fetchone()[0]
    db.execute("DELETE FROM sqlite_sequence WHERE name = 'chunk_places'")
    db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('chunk_places', ?)", [used])
    for statement in SCHEMA_V4_VIEW:
        db.execute(statement)


MIGRATIONS: tuple[Migration, ...] = (create_schema, add_pages_and_suffixes, add_cjk_pairs, pack_texts)


def schema_version(db: Database) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def check_version(db: Database, migrations: Sequence[Migration] = MIGRATIONS) -> bool:
    """Say whether the schema is the newest one.

    Raises:
        LibraryError: If the file is not a library, or was written by a newer version of the program.
    """
    # One statement sees one state of the file, also while another process is creating it.
    version, application_id, tables = db.execute(
        "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_schema)"
        " FROM pragma_user_version, pragma_application_id"
    ).fetchone()
    if application_id != APPLICATION_ID and (version or tables or application_id):
        raise LibraryError("this SQLite file is not an mlx-mixer library; choose another file or move it away")
    if version > len(migrations):
        raise LibraryError(
            f"this library has schema version {version}, and this program knows versions up to {len(migrations)}; "
            "it was left untouched. Update mlx-mixer to open it"
        )
    return bool(version == len(migrations))


def migrate(db: Database, migrations: Sequence[Migration] = MIGRATIONS, *, report: Report = lambda _: None) -> None:
    """Bring the schema to the newest version.

    Args:
        db: An open library of any known version, or an empty file.
        migrations: Step ``n`` (counted from 0) leads from version ``n`` to ``n + 1``.
        report: Called as the steps that take long go on.

    Raises:
        LibraryError: As `check_version`.
    """
    with write_transaction(db):
        # Read again inside the transaction: another process may have been first.
        if check_version(db, migrations):
            return
        for step in migrations[schema_version(db) :]:
            step(db, report)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(migrations)}")
