"""A library that an earlier version wrote keeps everything.

`library_v1.sqlite3.gz` was written by the program at schema version 1: `Library.add` on a folder with a Markdown
file, a Python file and random bytes, with an embedder of 16 dimensions, then VACUUM.
"""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_mixer.documents.database import connect
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.migrations import MIGRATIONS, schema_version
from mlx_mixer.documents.vectors import VectorIndex

OLD = Path(__file__).with_name("library_v1.sqlite3.gz")

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
db.conn.set_trace_callback(count_down)
migrate(db)
"""


@pytest.fixture
def old_library(tmp_path: Path) -> Path:
    path = tmp_path / "library.sqlite3"
    path.write_bytes(gzip.decompress(OLD.read_bytes()))
    return path


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
