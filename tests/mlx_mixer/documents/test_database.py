"""The file is private, versioned, and opened by many at once without harm."""

import multiprocessing
import sqlite3
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlx_mixer.documents import database
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.database import ThreadConnections, connect, open_database
from mlx_mixer.documents.lock import writer_lock
from mlx_mixer.documents.migrations import MIGRATIONS, migrate, schema_version
from mlx_mixer.documents.schema import APPLICATION_ID
from mlx_mixer.documents.transactions import write_transaction
from mlx_mixer.errors import LibraryError

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "library.sqlite3"


def add_colour(db: Database, _: object) -> None:
    db.execute("ALTER TABLE roots ADD COLUMN colour TEXT")


def fail(_: Database, __: object) -> None:
    raise RuntimeError("the step fails")


def write_and_be_interrupted(db: Database) -> None:
    with write_transaction(db):
        db.execute("INSERT INTO roots (path) VALUES (x'2f')")
        raise KeyboardInterrupt


def test_the_file_is_private_and_set_up(path: Path) -> None:
    db = open_database(path)
    db.execute("INSERT INTO roots (path) VALUES (x'2f')")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert {file.name for file in path.parent.iterdir()} >= {path.name, f"{path.name}-wal"}
    settings = ("journal_mode", "synchronous", "page_size", "auto_vacuum", "foreign_keys", "application_id")
    values = [db.execute(f"PRAGMA {setting}").fetchone()[0] for setting in settings]
    assert values == ["wal", 1, 8192, 2, 1, APPLICATION_ID]
    assert schema_version(db) == len(MIGRATIONS)
    db.close()


def test_tables_are_strict(path: Path) -> None:
    db = open_database(path)
    with pytest.raises(sqlite3.IntegrityError):
        db.execute("INSERT INTO roots (id, path) VALUES (1, 5)")
    db.close()


def test_an_old_schema_is_brought_forward_with_its_data(path: Path) -> None:
    db = open_database(path)
    db.execute("INSERT INTO roots (path) VALUES (x'2f')")
    migrate(db, [*MIGRATIONS, add_colour])
    assert schema_version(db) == len(MIGRATIONS) + 1
    assert db.execute("SELECT path, colour FROM roots").fetchall() == [(b"/", None)]
    db.close()


def test_a_failed_step_undoes_the_steps_before_it(path: Path) -> None:
    db = open_database(path)
    with pytest.raises(RuntimeError):
        migrate(db, [*MIGRATIONS, add_colour, fail])
    assert schema_version(db) == len(MIGRATIONS)
    assert [row[1] for row in db.execute("PRAGMA table_info(roots)")] == ["id", "path"]
    db.close()


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    db = open_database(path)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(LibraryError, match="Update mlx-mixer"):
        open_database(path)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    with pytest.raises(LibraryError, match="not an mlx-mixer library"):
        open_database(path)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(LibraryError, match="cannot open"):
        open_database(path)


def test_an_interrupted_block_leaves_nothing(path: Path) -> None:
    db = open_database(path)
    with pytest.raises(KeyboardInterrupt):
        write_and_be_interrupted(db)
    assert db.execute("SELECT count(*) FROM roots").fetchone() == (0,)
    assert not db.in_transaction
    db.close()


def _open_and_write(path: Path, number: int, gate: Callable[[], object]) -> None:
    gate()
    db = open_database(path)
    for step in range(5):
        with write_transaction(db):
            count = db.execute("SELECT count(*) FROM roots").fetchone()[0]
            db.execute("INSERT INTO roots (path) VALUES (?)", [f"{number}/{step}/{count}".encode()])
    db.close()


def test_several_processes_may_open_a_new_library_at_once(path: Path) -> None:
    for attempt in range(2):
        barrier = SPAWN.Barrier(4)
        target = path.with_name(f"{attempt}.sqlite3")
        processes = [SPAWN.Process(target=_open_and_write, args=(target, n, barrier.wait)) for n in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0] * 4
        db = connect(target)
        assert db.execute("SELECT count(*) FROM roots").fetchone() == (20,)
        db.close()


def test_threads_may_open_a_new_library_at_once(path: Path) -> None:
    for attempt in range(10):
        barrier = threading.Barrier(4)
        target = path.with_name(f"{attempt}.sqlite3")
        with ThreadPoolExecutor(4) as pool:
            for future in [pool.submit(_open_and_write, target, number, barrier.wait) for number in range(4)]:
                future.result(60)


def test_a_second_writer_is_told_who_the_first_is(path: Path) -> None:
    path.parent.mkdir()
    with writer_lock(path), pytest.raises(LibraryError, match=r"process \d+"), writer_lock(path):
        pass
    with writer_lock(path):
        pass


def test_a_new_schema_waits_for_the_writer_of_the_old_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.1)
    path.parent.mkdir()
    with writer_lock(path), pytest.raises(LibraryError, match="being written"):
        open_database(path)
    open_database(path).close()


def test_every_thread_has_its_own_connection_and_old_ones_are_closed(path: Path) -> None:
    connections = ThreadConnections(path)
    mine = connections.get()
    seen: list[Database] = []

    def work() -> None:
        seen.append(connections.get())

    for _ in range(3):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert connections.get() is mine
    assert len({id(db) for db in seen} | {id(mine)}) == 4
    with pytest.raises(sqlite3.ProgrammingError):
        seen[0].execute("SELECT 1")
    connections.close()
    with pytest.raises(LibraryError, match="closed"):
        connections.get()
