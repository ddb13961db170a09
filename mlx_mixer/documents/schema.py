"""The tables: those of schema version 1, and what each later version makes of them.

Documents are content-addressed: `files` says where bytes lie, `contents` what those bytes are, so a rename, a copy or
a return to an earlier version costs no reading into the index and no embedding. Chunk bodies do not overlap: joined in
order they *are* the document, and no second copy of the text is kept.

Since version 4 the texts lie compressed in `blocks`, and `chunks` is a view that shows them as the table before it did:
whoever reads a text names it, and the full-text index takes its content from there. The chunks of a document have ids
that follow each other from `contents.first_chunk` on, so that a place in a document is found by counting.

Contents are written once and deleted, never updated; that is why one trigger is enough to take their chunks along and
keep the full-text index in step, and insertion can be done in bulk (twice as fast as by trigger). AUTOINCREMENT: an id
that a screen or the vector index still holds never comes to mean something else.
"""

# "MXMX": tells `file` and us that this SQLite file is an mlx-mixer library.
APPLICATION_ID = 0x4D584D58
# How texts and names fall into words, everywhere.
TOKENIZER = "porter unicode61 remove_diacritics 2"

SCHEMA_V1 = (
    """
    CREATE TABLE roots (
        id   INTEGER PRIMARY KEY,
        path BLOB NOT NULL UNIQUE
    ) STRICT
    """,
    # hash: BLAKE2b-16 of the raw bytes. unreferenced_since: Unix time since when no visible file has this content.
    """
    CREATE TABLE contents (
        id                 INTEGER PRIMARY KEY AUTOINCREMENT,
        hash               BLOB NOT NULL,
        reader             TEXT NOT NULL,
        reader_version     INTEGER NOT NULL,
        title              TEXT NOT NULL,
        encoding           TEXT NOT NULL,
        characters         INTEGER NOT NULL,
        chunk_count        INTEGER NOT NULL,
        unreferenced_since INTEGER,
        UNIQUE (hash, reader, reader_version)
    ) STRICT
    """,
    "CREATE INDEX contents_unreferenced ON contents (id) WHERE unreferenced_since IS NOT NULL",
    # path: absolute, as the system's own bytes (names need not be UTF-8). folder, name: its words below the root.
    # mtime_ns is -1 where the file may have changed within the clock's resolution: it is hashed again next time.
    """
    CREATE TABLE files (
        id            INTEGER PRIMARY KEY,
        root          INTEGER NOT NULL REFERENCES roots (id) ON DELETE CASCADE,
        path          BLOB NOT NULL UNIQUE,
        folder        TEXT NOT NULL,
        name          TEXT NOT NULL,
        size          INTEGER NOT NULL,
        mtime_ns      INTEGER NOT NULL,
        inode         INTEGER NOT NULL,
        state         TEXT NOT NULL CHECK (state IN ('indexed', 'skipped', 'failed')),
        reason        TEXT,
        content       INTEGER REFERENCES contents (id),
        missing_since INTEGER,
        CHECK ((state = 'indexed') = (content IS NOT NULL)),
        CHECK ((state = 'indexed') = (reason IS NULL))
    ) STRICT
    """,
    "CREATE INDEX files_root ON files (root)",
    "CREATE INDEX files_content ON files (content)",
    # start: offset in characters. line: counted from 1. hash: BLAKE2b-16 of what is embedded (heading and body).
    """
    CREATE TABLE chunks (
        id          INTEGER PRIMARY KEY AUTOINCREMENT,
        content     INTEGER NOT NULL REFERENCES contents (id) ON DELETE CASCADE,
        seq         INTEGER NOT NULL,
        start       INTEGER NOT NULL,
        line        INTEGER NOT NULL,
        heading     TEXT NOT NULL,
        body        TEXT NOT NULL,
        identifiers TEXT NOT NULL,
        hash        BLOB NOT NULL,
        UNIQUE (content, seq)
    ) STRICT
    """,
    "CREATE INDEX chunks_hash ON chunks (hash)",
    f"""
    CREATE VIRTUAL TABLE chunks_fts USING fts5 (
        heading, body, identifiers,
        content = 'chunks', content_rowid = 'id', tokenize = '{TOKENIZER}'
    )
    """,
    """
    CREATE TRIGGER chunks_deleted AFTER DELETE ON chunks BEGIN
        INSERT INTO chunks_fts (chunks_fts, rowid, heading, body, identifiers)
        VALUES ('delete', old.id, old.heading, old.body, old.identifiers);
    END
    """,
    f"""
    CREATE VIRTUAL TABLE names_fts USING fts5 (
        folder, name, content = 'files', content_rowid = 'id', tokenize = '{TOKENIZER}'
    )
    """,
    """
    CREATE TRIGGER files_inserted AFTER INSERT ON files BEGIN
        INSERT INTO names_fts (rowid, folder, name) VALUES (new.id, new.folder, new.name);
    END
    """,
    """
    CREATE TRIGGER files_renamed AFTER UPDATE OF folder, name ON files BEGIN
        INSERT INTO names_fts (names_fts, rowid, folder, name) VALUES ('delete', old.id, old.folder, old.name);
        INSERT INTO names_fts (rowid, folder, name) VALUES (new.id, new.folder, new.name);
    END
    """,
    """
    CREATE TRIGGER files_deleted AFTER DELETE ON files BEGIN
        INSERT INTO names_fts (names_fts, rowid, folder, name) VALUES ('delete', old.id, old.folder, old.name);
    END
    """,
    # data: chunk_count x dims float16, in chunk order. As ids are never used twice, (largest id, number of rows)
    # identifies the state of this table.
    """
    CREATE TABLE vectors (
        id          INTEGER PRIMARY KEY AUTOINCREMENT,
        content     INTEGER NOT NULL REFERENCES contents (id) ON DELETE CASCADE,
        fingerprint TEXT NOT NULL,
        dims        INTEGER NOT NULL,
        data        BLOB NOT NULL,
        UNIQUE (fingerprint, content)
    ) STRICT
    """,
    "CREATE INDEX vectors_content ON vectors (content)",
)

SCHEMA_V2 = (
    # Facts about the library itself: when it was last checked and copied, weights that were measured, who watches.
    """
    CREATE TABLE settings (
        key   TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    # Folders at which another file system was mounted when they were looked through: what lies below is away, and not
    # deleted, while nothing is mounted there.
    "CREATE TABLE mounts (path BLOB PRIMARY KEY) STRICT, WITHOUT ROWID",
    # Whose vectors are in `vectors`. last_used: Unix time.
    """
    CREATE TABLE embedders (
        fingerprint TEXT PRIMARY KEY,
        dims        INTEGER NOT NULL,
        last_used   INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    # page: counted from 1, of the chunk's first character; NULL where the format has none.
    "ALTER TABLE chunks ADD COLUMN page INTEGER",
    # note: what a reader had to say about a document it could not take in whole.
    "ALTER TABLE contents ADD COLUMN note TEXT NOT NULL DEFAULT ''",
    # modified: Unix time of the last change, always true (unlike mtime_ns). suffix: lower case, without its dot.
    "ALTER TABLE files ADD COLUMN modified INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE files ADD COLUMN suffix TEXT NOT NULL DEFAULT ''",
    # Who judged the bytes; both NULL where nobody looked at them. A newer version looks again.
    "ALTER TABLE files ADD COLUMN reader TEXT",
    "ALTER TABLE files ADD COLUMN reader_version INTEGER",
    # How many whole walks in a row did not find it.
    "ALTER TABLE files ADD COLUMN missing_scans INTEGER NOT NULL DEFAULT 0",
    "UPDATE files SET modified = mtime_ns / 1000000000 WHERE mtime_ns > 0",
    """
    UPDATE files SET (reader, reader_version) = (SELECT reader, reader_version FROM contents WHERE id = files.content)
    WHERE content IS NOT NULL
    """,
)

# What version 3 added is in the rows alone (see migrations.py).

# Made before the texts are moved over from the table `chunks`.
SCHEMA_V4 = (
    # page_kind: what the pages of the document are called; empty where it has none.
    "ALTER TABLE contents ADD COLUMN page_kind TEXT NOT NULL DEFAULT ''",
    # first_chunk: id of its first chunk; the others follow.
    "ALTER TABLE contents ADD COLUMN first_chunk INTEGER NOT NULL DEFAULT 0",
    # start: offset in characters. line, page: counted from 1, of the first character.
    """
    CREATE TABLE chunk_places (
        id      INTEGER PRIMARY KEY AUTOINCREMENT,
        content INTEGER NOT NULL,
        start   INTEGER NOT NULL,
        line    INTEGER NOT NULL,
        page    INTEGER
    ) STRICT
    """,
    # id: that of the block's first chunk. headings, texts: see packing.py.
    """
    CREATE TABLE blocks (
        id       INTEGER PRIMARY KEY,
        headings BLOB NOT NULL,
        texts    BLOB NOT NULL
    ) STRICT
    """,
    # Chunks that have or had a vector, by the first 8 bytes (as a signed number) of the BLAKE2b-16 of what is embedded.
    # Nothing but the reuse of vectors goes by it: among ten million chunks the chance that any two of different text
    # have the same number is 1 in 400,000, and a search would then find one of them by the meaning of the other. Chunks
    # that are gone stay here until the next clearing up.
    """
    CREATE TABLE chunk_hashes (
        hash  INTEGER NOT NULL,
        chunk INTEGER NOT NULL,
        PRIMARY KEY (hash, chunk)
    ) STRICT, WITHOUT ROWID
    """,
)

# The table `chunks` is empty of meaning now, and the view takes its name.
SCHEMA_V4_VIEW = (
    "DROP TRIGGER chunks_deleted",
    "DROP TABLE chunks",
    """
    CREATE VIEW chunks (id, content, seq, start, line, page, heading, body, identifiers) AS
    SELECT p.id, p.content, p.id - c.first_chunk, p.start, p.line, p.page,
        block_heading(b.headings, p.id - b.id), block_body(b.texts, p.id - b.id),
        block_identifiers(b.texts, p.id - b.id)
    FROM contents c
    JOIN chunk_places p ON p.content = c.id AND p.id BETWEEN c.first_chunk AND c.first_chunk + c.chunk_count - 1
    JOIN blocks b ON b.id = (SELECT max(id) FROM blocks WHERE id <= p.id)
    """,
    """
    CREATE TRIGGER contents_deleted BEFORE DELETE ON contents BEGIN
        INSERT INTO chunks_fts (chunks_fts, rowid, heading, body, identifiers)
            SELECT 'delete', id, heading, body, identifiers FROM chunks WHERE content = old.id;
        DELETE FROM blocks WHERE id BETWEEN old.first_chunk AND old.first_chunk + old.chunk_count - 1
            AND (SELECT content FROM chunk_places p WHERE p.id = blocks.id) = old.id;
        DELETE FROM chunk_places WHERE id BETWEEN old.first_chunk AND old.first_chunk + old.chunk_count - 1
            AND content = old.id;
    END
    """,
)
