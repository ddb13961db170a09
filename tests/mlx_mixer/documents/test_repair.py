"""A damaged library says so, and comes back: from its own texts, a copy, or the files."""

import os
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mlx_mixer.documents import collect, health
from mlx_mixer.documents.backup import backups
from mlx_mixer.documents.database import connect
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.repair import repair
from mlx_mixer.errors import LibraryError
from tests.mlx_mixer.documents.helpers import OLD_NS, write_tree

WORDS = "cache mixer needle window matrix query passage answer library token"


def text_of(number: int) -> str:
    rng = random.Random(number)
    return f"# Document {number}\n\n" + " ".join(rng.choices(WORDS.split(), k=400)) + f"\n\nunique{number}\n"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "docs", {f"{number}.md": text_of(number) for number in range(40)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "library.sqlite3"


def fill(path: Path, docs: Path) -> None:
    with Library(path) as library:
        library.add([docs])


def check_everything_is_found(path: Path, numbers: range) -> None:
    with Library(path) as library:
        for number in numbers:
            assert [Path(hit.path).name for hit in library.search(f"unique{number}").hits] == [f"{number}.md"]
        db = library._connections.get()
        assert health.faults_in_file(db) + health.faults_in_words(db) == []


def test_a_sound_library_is_left_alone(path: Path, docs: Path) -> None:
    fill(path, docs)
    before = path.read_bytes()
    assert repair(path).faults == ()
    assert path.read_bytes() == before


def test_a_copy_is_made_and_its_predecessor_kept(path: Path, docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path, docs)
    assert [copy.name for copy in backups(path)] == ["library.sqlite3.backup-1"]
    assert backups(path)[0].stat().st_mode & 0o777 == 0o600
    first = backups(path)[0].read_bytes()
    fill(path, docs)
    assert backups(path)[0].read_bytes() == first  # once a day is enough
    monkeypatch.setattr(collect, "CHECK_SECONDS", -1)
    write_tree(docs, {"new.md": "# New\n\nunique40\n"})
    fill(path, docs)
    assert [copy.name for copy in backups(path)] == ["library.sqlite3.backup-1", "library.sqlite3.backup-2"]
    assert backups(path)[1].read_bytes() == first
    with sqlite3.connect(backups(path)[0]) as copy:
        assert copy.execute("SELECT count(*) FROM files").fetchone() == (41,)
    copy.close()


def test_free_room_is_given_back_to_the_disk(path: Path, docs: Path) -> None:
    fill(path, docs)
    with Library(path) as library:
        db = library._connections.get()
        db.execute("CREATE TABLE waste AS SELECT zeroblob(400000)")
        db.execute("DROP TABLE waste")
        pages, free = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
        assert free > 10
        collect.give_back_room(db, least=free + 1)
        assert db.execute("PRAGMA page_count").fetchone() == (pages,)
        collect.give_back_room(db, least=free)
        assert db.execute("PRAGMA page_count").fetchone()[0] <= pages - free
        assert db.execute("PRAGMA freelist_count").fetchone() == (0,)


def test_what_is_removed_does_not_live_on_in_a_copy(path: Path, docs: Path) -> None:
    fill(path, docs)
    with Library(path) as library:
        library.remove(docs / "7.md")
        assert backups(path) == []
        library.add([docs / "8.md"])
        assert len(backups(path)) == 1
    with closing(connect(backups(path)[0])) as copy:
        assert copy.execute("SELECT count(*) FROM chunks WHERE body LIKE '%unique7%'").fetchone() == (0,)


def test_a_damaged_word_index_is_made_anew_from_the_texts(path: Path, docs: Path) -> None:
    fill(path, docs)
    with Library(path) as library:
        library._connections.get().execute("DELETE FROM chunks_fts_data WHERE id > 10")
    report = repair(path)
    assert (report.rebuilt_words, report.kept_as) == (True, None)
    check_everything_is_found(path, range(40))


def test_without_a_copy_the_library_is_made_anew_from_the_files(path: Path, docs: Path) -> None:
    fill(path, docs)
    for copy in backups(path):
        copy.unlink()
    data = bytearray(path.read_bytes())
    for page in range(20, len(data) // 8192):  # the roots are near the beginning, and still legible
        data[page * 8192 : page * 8192 + 200] = os.urandom(200)
    path.write_bytes(data)
    report = repair(path)
    assert report.faults
    assert report.restored_from is None
    assert Path(report.kept_as or "").read_bytes() == bytes(data)
    with Library(path) as library:
        assert library.refresh().added == 40
    check_everything_is_found(path, range(40))


def test_a_copy_takes_the_place_of_an_illegible_file_and_the_files_do_the_rest(path: Path, docs: Path) -> None:
    fill(path, docs)
    write_tree(docs, {"40.md": text_of(40), "3.md": text_of(3) + "more"}, mtime_ns=OLD_NS + 1)
    path.write_bytes(b"not a database any more " * 1000)
    with pytest.raises(LibraryError, match="mlx-mixer docs repair"):
        Library(path)
    report = repair(path)
    assert report.restored_from == str(backups(path)[0])
    with Library(path) as library:
        done = library.refresh()
        assert (done.added, done.updated, done.unchanged) == (1, 1, 39)
    check_everything_is_found(path, range(41))


def test_a_damaged_copy_is_passed_over(path: Path, docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "CHECK_SECONDS", -1)
    fill(path, docs)
    fill(path, docs)
    newest, older = backups(path)
    newest.write_bytes(newest.read_bytes()[:20000])
    path.write_bytes(path.read_bytes()[:50000])
    assert repair(path).restored_from == str(older)
    check_everything_is_found(path, range(40))


def test_a_damaged_library_is_not_copied(path: Path, docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path, docs)
    good = backups(path)[0].read_bytes()
    monkeypatch.setattr(collect, "CHECK_SECONDS", -1)
    with Library(path) as library:
        library._connections.get().execute("DELETE FROM chunks_fts_data WHERE id > 10")
        with pytest.raises(LibraryError, match=r"damaged .*mlx-mixer docs repair"):
            library.refresh()
    assert backups(path)[0].read_bytes() == good


def test_another_programs_file_is_not_repaired(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as theirs:
        theirs.execute("CREATE TABLE theirs (a)")
    theirs.close()
    before = path.read_bytes()
    with pytest.raises(LibraryError, match="not an mlx-mixer library"):
        repair(path)
    assert path.read_bytes() == before


def test_random_damage_is_noticed_or_does_no_harm_and_always_mended(path: Path, docs: Path) -> None:
    """After 60 damages, each to a fresh copy: nothing crashes, and after the repair every document is found."""
    fill(path, docs)
    whole = path.read_bytes()
    noticed = 0
    for seed in range(60):
        rng = random.Random(seed)
        work = path.parent / f"{seed}"
        work.mkdir()
        damaged = work / "library.sqlite3"
        data = bytearray(whole)
        for _ in range(rng.choice([1, 4, 40])):
            at = rng.randrange(len(data))
            data[at : at + rng.choice([1, 16, 512])] = rng.randbytes(rng.choice([1, 16, 512]))
        damaged.write_bytes(data[: rng.choice([len(data), len(data), len(data) * 3 // 4])])
        shutil.copy(backups(path)[0], work / "library.sqlite3.backup-1")
        try:
            report = repair(damaged)
        except LibraryError as error:  # the damage hit the mark that makes it ours, or its version
            assert "not an mlx-mixer library" in str(error) or "Update mlx-mixer" in str(error)  # noqa: PT017
            continue
        noticed += bool(report.faults)
        with Library(damaged) as library:
            if report.needs_refresh:
                library.refresh()
            for number in rng.sample(range(40), 5):
                assert [Path(hit.path).name for hit in library.search(f"unique{number}").hits] == [f"{number}.md"]
        shutil.rmtree(work)
    assert noticed > 30
