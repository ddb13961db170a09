"""A batch is written in few statements, and reads as if every row had been written by itself."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlx_mixer.documents import rows, store
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.contents import give_words_room
from mlx_mixer.documents.database import open_database
from mlx_mixer.documents.filebytes import content_hash
from mlx_mixer.documents.prepare import prepare_content
from mlx_mixer.documents.readers import read_document, reader_for
from mlx_mixer.documents.records import FileData
from mlx_mixer.documents.transactions import write_transaction
from mlx_mixer.documents.words import path_words

ROOT = b"/docs"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    db = open_database(tmp_path / "library.sqlite3")
    db.execute("INSERT INTO roots (id, path) VALUES (1, ?)", [ROOT])
    yield db
    db.close()


def file_data(name: str, text: str) -> FileData:
    path = ROOT + b"/" + os.fsencode(name)
    reader, data = reader_for(path), text.encode()
    content = prepare_content(read_document(data, reader)[0], content_hash(data), reader, "utf-8")
    return FileData(path, path_words(path, ROOT), len(data), reader=reader.name, content=content)


def save(db: Database, files: list[FileData]) -> None:
    with write_transaction(db):
        give_words_room(db)
        store.save_files(db, 1, files, now=7)


def everything(db: Database) -> dict[str, list[tuple[object, ...]]]:
    tables = ("files", "contents", "chunk_places", "blocks", "chunks")
    found = {table: db.execute(f"SELECT * FROM {table} ORDER BY id").fetchall() for table in tables}
    for table in ("chunks_fts", "names_fts"):
        db.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('integrity-check', 1)")
    return found


@pytest.mark.parametrize("most", [3, 400])
def test_files_saved_together_are_saved_as_one_by_one(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(rows, "_MOST_ROWS", most)
    files = [file_data(f"{n}.md", f"# Title {n}\n\nneedle {n}\n\n" + "more words\n" * 90 * (n % 3)) for n in range(10)]
    # Another file with the same content, one of new content, one left out, and a file that takes the place of one.
    files.append(file_data("copy.md", "".join(chunk.body for chunk in files[4].content.chunks)))  # type: ignore[union-attr]
    files.append(FileData(ROOT + b"/x.bin", path_words(ROOT + b"/x.bin", ROOT), state="skipped", reason="not text"))
    files.append(file_data("5.md", "# Changed\n\nagain\n"))
    save(db, files)
    other = open_database(tmp_path / "other.sqlite3")
    other.execute("INSERT INTO roots (id, path) VALUES (1, ?)", [ROOT])
    for file in files:
        save(other, [file])
    found = everything(db)
    assert found == everything(other)
    assert (len(found["files"]), len(found["contents"])) == (12, 11)
    assert [row[0] for row in db.execute("SELECT id FROM contents WHERE unreferenced_since = 7")] == [6]
    other.close()


def test_the_words_of_a_batch_are_one_piece_of_index(db: Database) -> None:
    save(db, [file_data(f"{n}.txt", f"needle {n} " + "some more words " * 40) for n in range(60)])
    for table in ("chunks_fts", "names_fts"):
        assert db.execute(f"SELECT count(DISTINCT segid) FROM {table}_idx").fetchone() == (1,)
