"""A library that an earlier version wrote keeps everything.

`library_v1.sqlite3.gz` was written by the program at schema version 1: `Library.add` on a folder with a Markdown
file, a Python file and random bytes, with an embedder of 16 dimensions, then VACUUM.

`library_v3.sqlite3.gz` was written at schema version 3, the last one that kept the texts as they are, in the same
way: a Markdown file and its copy, Python classes, Chinese text, slides, a PDF file, a sheet and random bytes; a further
file was added and removed.
"""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mlx_mixer.documents import health
from mlx_mixer.documents.backup import backups
from mlx_mixer.documents.chunk_hashes import chunk_hash, vector_of_hash
from mlx_mixer.documents.database import connect, open_database
from mlx_mixer.documents.events import Progress
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.migrations import MIGRATIONS, migrate, schema_version
from mlx_mixer.documents.prepare import embedding_text
from mlx_mixer.documents.vectors import VectorIndex
from mlx_mixer.errors import LibraryError
from tests.mlx_mixer.documents.helpers import old_library_file, write_tree

KILLED_MIGRATION = """
import os, signal, sys
from pathlib import Path
from mlx_mixer.documents.database import connect
from mlx_mixer.documents.migrations import migrate
db, left = connect(Path(sys.argv[1])), int(sys.argv[2])
def count_down(_):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
db.set_trace_callback(count_down)
migrate(db)
"""


@pytest.fixture
def old_library(tmp_path: Path) -> Path:
    return old_library_file(tmp_path, version=1)


@pytest.fixture
def packed_soon(tmp_path: Path) -> Path:
    return old_library_file(tmp_path, version=3)


def test_the_oldest_schema_is_brought_forward_with_text_meaning_and_reasons(old_library: Path) -> None:
    with Library(old_library) as library:
        db = library._connections.get()
        assert schema_version(db) == len(MIGRATIONS)
        assert [(row.path, row.title) for row in library.documents()] == [
            ("/srv/docs/guide.md", "Old guide"),
            ("/srv/docs/notes/mixer.py", ""),
        ]
        assert [note.reason for note in library.left_out()] == ["not text (binary content)"]
        rows = db.execute("SELECT suffix, modified, reader, reader_version FROM files ORDER BY path").fetchall()
        assert rows == [
            ("md", 1714564800, "markdown", 1),
            ("", 1714564800, None, None),
            ("py", 1714564800, "python", 1),
        ]
        assert db.execute("SELECT DISTINCT page FROM chunks").fetchall() == [(None,)]
        assert db.execute("SELECT count(*) FROM chunks_fts WHERE chunks_fts MATCH 'needle'").fetchone() == (1,)
        ((fingerprint, dims),) = db.execute("SELECT DISTINCT fingerprint, dims FROM vectors").fetchall()
        index = VectorIndex(fingerprint, dims)
        index.refresh(db)
        assert len(index) == 2
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("statement", [2, 6, 12, 19])
def test_a_killed_migration_leaves_the_old_library(old_library: Path, statement: int) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_MIGRATION, str(old_library), str(statement)])
    assert done.returncode == -9
    db = connect(old_library)
    assert schema_version(db) == 1
    assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'settings'").fetchone() == (0,)
    db.close()
    with Library(old_library) as library:
        assert library.status().documents == 2


COLUMNS = "id, content, seq, start, line, page, heading, body, identifiers"


def test_packed_texts_are_what_they_were(packed_soon: Path) -> None:
    with closing(sqlite3.connect(packed_soon)) as raw:
        before = raw.execute(f"SELECT {COLUMNS} FROM chunks ORDER BY id").fetchall()
        used = raw.execute("SELECT seq FROM sqlite_sequence WHERE name = 'chunks'").fetchone()[0]
        words = raw.execute("SELECT id, block FROM chunks_fts_data ORDER BY id").fetchall()
    size = packed_soon.stat().st_size
    with closing(open_database(packed_soon)) as db:
        assert len(before) > 90
        assert db.execute(f"SELECT {COLUMNS} FROM chunks ORDER BY id").fetchall() == before
        # The index of words stays as it is, and still fits the texts.
        assert db.execute("SELECT id, block FROM chunks_fts_data ORDER BY id").fetchall() == words
        assert health.faults_in_file(db) + health.faults_in_words(db) == []
        assert db.execute("PRAGMA freelist_count").fetchone()[0] == 0
        assert db.execute(
            "SELECT reader, page_kind FROM contents WHERE page_kind <> '' ORDER BY reader"
        ).fetchall() == [
            ("opendocument", "sheet"),
            ("pdf", "page"),
            ("pptx", "slide"),
        ]
    assert packed_soon.stat().st_size < size
    assert len(backups(packed_soon)) == 1  # as it was before
    with Library(packed_soon) as library:
        library.add([write_tree(packed_soon.parent / "docs", {"new.md": "entirely new"})])
        (hit,) = library.search("entirely").hits
        assert hit.chunk_id == used + 1


def test_bringing_a_library_forward_reports_every_document(packed_soon: Path) -> None:
    steps: list[Progress] = []
    with Library(packed_soon, progress=steps.append):
        assert steps == [Progress("upgrade", done, 6) for done in range(6)]
    with Library(packed_soon, progress=steps.append):
        assert len(steps) == 6


def test_packed_texts_keep_their_vectors(packed_soon: Path) -> None:
    with closing(open_database(packed_soon)) as db:
        ((fingerprint, dims),) = db.execute("SELECT DISTINCT fingerprint, dims FROM vectors").fetchall()
        index = VectorIndex(fingerprint, dims)
        index.refresh(db)
        rows = db.execute("SELECT content, seq, heading, body FROM chunks").fetchall()
        for content, seq, heading, body in rows:
            data = vector_of_hash(db, chunk_hash(embedding_text(heading, body)), fingerprint, dims)
            assert data == index.vectors([(content, seq)])[content, seq].astype("<f2").tobytes()


def test_what_was_packed_can_be_forgotten(packed_soon: Path) -> None:
    with Library(packed_soon) as library:
        assert library.remove("/srv/papers") == 7
        db = library._connections.get()
        for table in ("contents", "chunk_places", "blocks", "chunk_hashes", "vectors", "chunks_fts_docsize"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
        assert health.faults_in_file(db) + health.faults_in_words(db) == []


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_a_killed_packing_leaves_the_old_library(packed_soon: Path, share: float) -> None:
    statements: list[str] = []
    with closing(connect(old_library_file(packed_soon.parent, version=3, name="counted.sqlite3"))) as db:
        db.set_trace_callback(statements.append)
        migrate(db)
    done = subprocess.run([sys.executable, "-c", KILLED_MIGRATION, str(packed_soon), str(int(share * len(statements)))])
    assert done.returncode == -9
    check_old_and_bring_forward(packed_soon)


def test_a_disk_that_fills_up_while_packing_leaves_the_old_library(packed_soon: Path) -> None:
    with closing(connect(packed_soon)) as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages + 1}").fetchall()  # SQLite's own way to meet a full disk
        with pytest.raises(sqlite3.OperationalError, match="full"):
            migrate(db)
    check_old_and_bring_forward(packed_soon)


def check_old_and_bring_forward(path: Path) -> None:
    with closing(connect(path)) as db:
        assert schema_version(db) == 3
        assert db.execute("SELECT type FROM sqlite_schema WHERE name = 'chunks'").fetchone() == ("table",)
        assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'blocks'").fetchone() == (0,)
        assert health.faults_in_file(db) + health.faults_in_words(db) == []
    with Library(path) as library:
        assert library.status().documents == 7
        # Its files are on no disk, so a search would not show them.
        found = "SELECT count(*) FROM chunks_fts WHERE chunks_fts MATCH 'trimOldEntries7'"
        assert library._connections.get().execute(found).fetchone()[0] > 0


def test_a_library_with_passages_missing_is_not_packed(packed_soon: Path) -> None:
    with closing(connect(packed_soon)) as db:
        db.execute("DELETE FROM chunks WHERE seq = 3")
    with pytest.raises(LibraryError, match="not complete; it was left untouched"):
        Library(packed_soon)
    with closing(connect(packed_soon)) as db:
        assert schema_version(db) == 3
