"""Adding looks at everything, reads only what is new, and forgets nothing too early."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mlx_mixer.documents import batch, indexing, store
from mlx_mixer.documents.events import AddReport, Progress
from mlx_mixer.documents.lexical import search_words
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.query import parse_query
from mlx_mixer.documents.records import FileData
from mlx_mixer.documents.words import path_words
from mlx_mixer.errors import LibraryError
from tests.mlx_mixer.documents.helpers import OLD_NS, needs_any_name, write_tree

TREE = {
    "guide.md": "# Guide\n\nHow to trim the cache.\n",
    "code/mixer.py": 'def trim_cache():\n    """Forget the last tokens."""\n',
    "notes.txt": "Remember the milk.\n",
}


def counts(report: AddReport) -> dict[str, int]:
    values = {name: len(value) if isinstance(value, tuple) else value for name, value in vars(report).items()}
    return {name: value for name, value in values.items() if value}


def text_of(library: Library, path: Path) -> str:
    rows = library._connections.get().execute(
        "SELECT body FROM chunks JOIN files USING (content) WHERE path = ? AND missing_since IS NULL ORDER BY seq",
        [bytes(path)],
    )
    return "".join(body for (body,) in rows)


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """Names of the files this process opens below a temporary folder."""
    opened: list[str] = []
    active = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if active and event == "open" and isinstance(arguments[0], bytes):
            opened.append(os.fsdecode(arguments[0]))

    sys.addaudithook(hook)
    yield opened
    active = False


def check_index(library: Library) -> None:
    db = library._connections.get()
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    for table in ("chunks_fts", "names_fts"):
        db.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('integrity-check', 1)")


def test_what_is_stored_is_the_document(library: Library, tmp_path: Path) -> None:
    write_tree(tmp_path / "docs", {**TREE, "long.md": "# A\n\n" + "Some words, and more.\r\n" * 900})
    assert counts(library.add([tmp_path / "docs"])) == {"added": 4}
    for path in (tmp_path / "docs").rglob("*.*"):
        assert text_of(library, path) == path.read_text()
    check_index(library)


def test_unchanged_files_are_not_opened(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", {**TREE, "binary.bin2": b"\0\1\2" * 99, "photo.png": b"x"})
    with opened_files() as opened:
        assert counts(library.add([docs])) == {"added": 3, "skipped": 2}
    assert len(opened) == 4
    with opened_files() as opened:
        assert counts(library.add([docs])) == {"unchanged": 3, "skipped": 2}
    assert opened == []


def test_a_changed_file_replaces_its_text(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", TREE)
    library.add([docs])
    write_tree(docs, {"notes.txt": "Remember the bread.\n"}, mtime_ns=OLD_NS + 1)
    assert counts(library.add([docs])) == {"updated": 1, "unchanged": 2}
    assert text_of(library, docs / "notes.txt") == "Remember the bread.\n"
    assert search_words(library._connections.get(), parse_query("milk"), 10) == []
    assert [Path(hit.path).name for hit in library.search("bread").hits] == ["notes.txt"]
    check_index(library)


def test_a_touched_file_with_the_same_bytes_is_unchanged(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", TREE)
    library.add([docs])
    write_tree(docs, TREE, mtime_ns=OLD_NS + 5)
    assert counts(library.add([docs])) == {"unchanged": 3}


def test_a_change_within_the_clocks_resolution_is_noticed(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", {"a.txt": "first version"})
    os.utime(docs / "a.txt")
    library.add([docs])
    before = (docs / "a.txt").stat()
    (docs / "a.txt").write_text("other version")
    os.utime(docs / "a.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert counts(library.add([docs])) == {"updated": 1}


def test_a_renamed_file_keeps_its_content(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", TREE)
    library.add([docs])
    before = library.search("trim cache").hits
    (docs / "guide.md").rename(docs / "manual.md")
    (docs / "code").rename(docs / "source")
    assert counts(library.add([docs])) == {"renamed": 2, "unchanged": 1}
    after = library.search("trim cache").hits
    assert {hit.chunk_id for hit in before} == {hit.chunk_id for hit in after}
    assert {Path(hit.path).relative_to(docs).as_posix() for hit in after} == {"manual.md", "source/mixer.py"}
    assert [Path(row.path).name for row in library.documents()] == ["manual.md", "notes.txt", "mixer.py"]
    check_index(library)


def test_a_copy_shares_its_content(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", TREE)
    library.add([docs])
    shutil.copy(docs / "guide.md", docs / "copy.md")
    assert counts(library.add([docs])) == {"added": 1, "unchanged": 3}
    assert library.status().chunks == 3
    assert [Path(hit.path).name for hit in library.search("guide").hits] == ["copy.md"]


def test_a_deleted_file_is_hidden_and_comes_back_without_being_read(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", TREE)
    library.add([docs])
    (docs / "notes.txt").rename(tmp_path / "elsewhere")
    assert library.search("milk").hits == ()
    assert counts(library.add([docs])) == {"removed": 1, "unchanged": 2}
    assert library.status().documents == 2
    (tmp_path / "elsewhere").rename(docs / "notes.txt")
    with opened_files() as opened:
        assert counts(library.add([docs])) == {"unchanged": 3}
    assert opened == []
    assert len(library.search("milk").hits) == 1


def test_what_is_gone_for_longer_than_the_grace_is_forgotten(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = write_tree(tmp_path / "docs", TREE)
    library.add([docs])
    (docs / "notes.txt").unlink()
    write_tree(docs, {"guide.md": "# Guide\n\nRewritten.\n"}, mtime_ns=OLD_NS + 1)
    library.add([docs])
    db = library._connections.get()
    assert db.execute("SELECT count(*) FROM contents").fetchone() == (4,)
    monkeypatch.setattr(store, "GRACE_SECONDS", -10)
    library.add([docs])
    assert db.execute("SELECT count(*) FROM contents").fetchone() == (2,)
    assert db.execute("SELECT count(*) FROM chunks").fetchone() == (2,)
    check_index(library)


def test_a_root_that_is_away_takes_nothing_with_it(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "disk", TREE)
    library.add([docs])
    docs.rename(tmp_path / "unmounted")
    assert counts(library.refresh()) == {"failed": 1}
    assert library.status().documents == 3
    (tmp_path / "unmounted").rename(docs)
    assert counts(library.refresh()) == {"unchanged": 3}


def test_overlapping_roots_hold_every_file_once(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", TREE)
    library.add([docs / "code", docs / "notes.txt"])
    assert len(library.status().roots) == 2
    assert counts(library.add([docs])) == {"added": 1, "unchanged": 2}
    assert library.status().roots == (str(docs),)
    assert counts(library.add([docs / "code"])) == {"unchanged": 1}
    assert library.status().documents == 3
    (docs / "code/mixer.py").unlink()
    assert counts(library.add([docs / "code"])) == {"removed": 1}


def test_what_a_walk_would_leave_out_may_be_added_by_name_and_stays(library: Library, tmp_path: Path) -> None:
    docs = write_tree(
        tmp_path / "docs", {**TREE, ".private/diary.md": "Dear diary.\n", "node_modules/p/a.js": "needle"}
    )
    library.add([docs])
    assert counts(library.add([docs / ".private", docs / "node_modules/p"])) == {"added": 2}
    assert counts(library.refresh())["unchanged"] == 5
    assert [Path(hit.path).name for hit in library.search("diary needle").hits] == ["diary.md", "a.js"]
    assert len(library.status().roots) == 3
    assert counts(library.add([tmp_path]))["unchanged"] == 3
    assert len(library.status().roots) == 3
    assert library.search("diary").hits


def test_the_library_does_not_read_itself(tmp_path: Path) -> None:
    with Library(tmp_path / "library.sqlite3") as library:
        assert counts(library.add([write_tree(tmp_path, {"a.txt": "x"})])) == {"added": 1}


def test_removing_forgets_the_text_and_keeps_the_files(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", {**TREE, "code/copy.txt": TREE["notes.txt"]})
    library.add([docs])
    assert library.remove(docs / "code") == 2
    assert library.search("forget").hits == ()
    assert len(library.search("milk").hits) == 1
    assert library.remove(docs) == 2
    db = library._connections.get()
    assert [
        db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("files", "contents", "chunks", "roots")
    ] == [0] * 4
    check_index(library)
    assert (docs / "code/mixer.py").exists()


@needs_any_name
def test_hostile_names_are_stored_as_they_are(library: Library, tmp_path: Path) -> None:
    names = [b"[", b"\x1b[31mred.txt", b"caf\xe9.txt", "e\u0301.txt".encode(), b"new\nline.txt", b"'; DROP TABLE --"]
    docs = write_tree(tmp_path / "docs", {})
    docs.mkdir()
    for number, name in enumerate(names):
        write_tree(docs, {os.fsdecode(name): f"needle number {number}"})
    assert counts(library.add([docs])) == {"added": len(names)}
    assert {os.fsencode(hit.path).rpartition(b"/")[2] for hit in library.search("needle", limit=20).hits} == set(names)
    assert library.remove(os.fsdecode(bytes(docs) + b"/caf\xe9.txt")) == 1


def test_files_that_cannot_be_read_are_remembered_with_the_reason(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", {"a.txt": "x", "noise": os.urandom(5000), "blank.txt": " \n "})
    os.mkfifo(docs / "pipe.txt")
    (docs / "loop").symlink_to(docs)
    report = library.add([docs])
    assert counts(report) == {"added": 1, "skipped": 4}
    assert {Path(note.path).name: note.reason for note in library.left_out()} == {
        "noise": "not text (binary content)",
        "blank.txt": "empty",
        "pipe.txt": "not a regular file",
        "loop": "a symbolic link",
    }
    assert sorted(note.path for note in report.skipped) == sorted(note.path for note in library.left_out())


def test_a_path_that_does_not_exist_fails_and_the_others_go_on(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", TREE)
    report = library.add([tmp_path / "nowhere", docs])
    assert counts(report) == {"added": 3, "failed": 1}
    assert report.failed[0].reason == "no such file or folder"


def test_a_link_named_by_the_user_is_followed_once(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", TREE)
    (tmp_path / "link").symlink_to(docs)
    library.add([tmp_path / "link"])
    assert library.status().roots == (str(docs),)


def test_progress_counts_up_and_batches_are_committed_as_it_goes(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_FILES", 4)
    docs = write_tree(tmp_path / "docs", {f"{n}.txt": f"text {n}" for n in range(10)})
    seen: list[tuple[int, int]] = []

    def watch(progress: Progress) -> None:
        if progress.stage == "text":
            with Library(library.path) as other:
                seen.append((progress.done, other.status().documents))

    library.add([docs], progress=watch)
    assert seen == [(4, 4), (8, 8), (10, 10)]


def test_cancelling_keeps_what_was_done_and_hides_nothing(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_FILES", 2)
    docs = write_tree(tmp_path / "docs", {f"{n}.txt": f"text {n}" for n in range(10)})
    asked = iter(range(100))
    report = library.add([docs], is_cancelled=lambda: next(asked) >= 6)  # once before them
    assert report.cancelled
    assert counts(report) == {"added": 5, "cancelled": 1}
    assert library.status().documents == 5
    assert counts(library.add([docs])) == {"unchanged": 5, "added": 5}
    assert counts(library.add([docs], is_cancelled=lambda: True)) == {"cancelled": 1}
    assert library.status().documents == 10


@pytest.mark.parametrize("how", ["done", "cancelled", "failed"])
def test_no_transaction_is_left_open(library: Library, tmp_path: Path, how: str) -> None:
    write_tree(tmp_path / "docs", {f"{number}.md": f"text {number}\n" for number in range(5)})

    def is_cancelled() -> bool:
        if how == "failed" and asked:
            raise RuntimeError("no more")
        asked.append(True)
        return how == "cancelled" and len(asked) > 3

    asked: list[bool] = []
    with suppress(RuntimeError):
        library.add([tmp_path / "docs"], is_cancelled=is_cancelled)
    assert asked
    assert not library._connections.get().in_transaction


def test_a_walk_that_finds_nothing_new_can_be_cancelled_too(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", {f"{n}.txt": f"text {n}" for n in range(1500)})
    library.add([docs])
    asked = iter(range(100))
    report = library.add([docs], is_cancelled=lambda: next(asked) >= 1)
    assert counts(report) == {"unchanged": 1000, "cancelled": 1}
    assert library.status().documents == 1500


def test_what_lies_below_an_unreadable_folder_is_not_taken_for_gone(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = write_tree(tmp_path / "docs", TREE)
    library.add([docs])
    real = os.scandir

    def scandir(folder: bytes) -> object:
        if folder.endswith(b"/code"):  # permissions do not bind the superuser, who may run this
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    report = library.add([docs])
    assert counts(report) == {"unchanged": 2, "failed": 1}
    assert report.failed[0].reason == "permission denied"
    assert library.status().documents == 3
    assert len(library.search("forget tokens").hits) == 1


def test_a_full_disk_stops_with_one_line_and_keeps_what_was_committed(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_FILES", 4)
    docs = write_tree(
        tmp_path / "docs",
        {f"{n}.txt": f"needle {' '.join(map(str, range(n * 900, n * 900 + 900)))}" for n in range(40)},
    )
    db = library._connections.get()
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages + 20}").fetchall()  # SQLite's own way to meet a full disk
    with pytest.raises(LibraryError, match=r"full \([\d,]+ MB free\); what was committed before is kept"):
        library.add([docs])
    committed = library.status().documents
    assert 0 < committed < 40
    assert len(library.search("needle", limit=50).hits) >= committed
    check_index(library)
    db.execute("PRAGMA max_page_count = 100000").fetchall()
    assert counts(library.add([docs])) == {"unchanged": committed, "added": 40 - committed}


def test_a_library_deleted_while_being_written_is_noticed(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_FILES", 2)
    docs = write_tree(tmp_path / "docs", {f"{n}.txt": f"text {n}" for n in range(10)})
    with pytest.raises(LibraryError, match="deleted or replaced"):
        library.add([docs], progress=lambda _: library.path.unlink(missing_ok=True))


def test_a_second_writer_is_refused_and_reading_goes_on(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", TREE)

    def interfere(progress: Progress) -> None:
        if progress.stage == "text":
            with Library(library.path) as other:
                assert len(other.search("milk").hits) == 1
                with pytest.raises(LibraryError, match="being written"):
                    other.add([docs])
                with pytest.raises(LibraryError, match="being written"):
                    other.remove(docs)

    library.add([docs], progress=interfere)


def test_a_new_version_of_a_reader_reads_again(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = write_tree(tmp_path / "docs", {"notes.txt": "Remember the milk.\n"})
    library.add([docs])
    newer = indexing.reader_for(b"x.txt")._replace(version=99)
    monkeypatch.setattr(indexing, "reader_for", lambda _: newer)
    assert counts(library.add([docs])) == {"updated": 1}
    assert len(library.search("milk").hits) == 1


def test_what_was_refused_is_read_again_on_request(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", {"a/noise.txt": b"\0\1\2\3" * 500, "b.txt": "x"})
    library.add([docs])
    text = "legible at last, though nothing tells".ljust(2000)
    with (docs / "a/noise.txt").open("r+b") as file:  # the same file of the same size
        file.write(text.encode())
    os.utime(docs / "a/noise.txt", ns=(OLD_NS, OLD_NS))
    assert counts(library.refresh()) == {"unchanged": 1, "skipped": 1}
    assert counts(library.retry([docs / "b.txt"])) == {"unchanged": 1}
    assert counts(library.retry([docs / "a"])) == {"added": 1}
    assert len(library.search("legible").hits) == 1


def test_a_new_version_of_a_reader_looks_again_at_what_was_refused(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = write_tree(tmp_path / "docs", {"noise.txt": b"\0\1\2\3" * 500})
    library.add([docs])
    newer = indexing.reader_for(b"x.txt")._replace(version=99)
    monkeypatch.setattr(indexing, "reader_for", lambda _: newer)
    with opened_files() as opened:
        assert counts(library.refresh()) == {"skipped": 1}
        assert counts(library.refresh()) == {"skipped": 1}
    assert len(opened) == 1


def test_only_what_a_walk_comes_to_is_refreshed(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", {**TREE, ".gitignore": "build/\n", "build/a.txt": "x", "new/b.txt": "y"})
    library.add([docs / "notes.txt", docs])
    (docs / "new/c.txt").write_text("fresh")
    write_tree(tmp_path / "elsewhere", {"d.txt": "x"})
    assert counts(library.refresh([docs / "build", docs / "new", tmp_path / "elsewhere"])) == {
        "added": 1, "unchanged": 1
    }  # fmt: skip
    assert library.status().roots == (str(docs),)


def test_files_are_forgotten_after_two_walks_that_did_not_find_them(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", TREE)
    library.add([docs])
    (docs / "notes.txt").unlink()
    db = library._connections.get()
    for expected in (3, 2):
        library.refresh()
        assert db.execute("SELECT count(*) FROM files").fetchone() == (expected,)
    assert db.execute("SELECT count(*) FROM contents").fetchone() == (3,)


def test_the_first_files_can_be_found_while_the_others_are_read(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", {f"{n:03}.txt": f"number {n} " * 3000 for n in range(120)})
    counts_seen: list[int] = []

    def note(progress: Progress) -> None:
        if progress.stage == "text":
            counts_seen.append(library.status().documents)

    library.add([docs], progress=note)
    assert counts_seen[0] < 10
    assert counts_seen[-1] == 120
    # Those that follow are large, for many small ones take longer.
    assert len(counts_seen) <= 10


def test_less_is_written_at_once_when_little_is_left() -> None:
    now = batch.Batch(1, b"/docs")
    words = path_words(b"/docs/a.txt", b"/docs")

    def bytes_until_full(bytes_left: int | None) -> int:
        now.clear()
        size = 0
        while not now.is_full(bytes_left):
            now.add(FileData(b"/docs/a.txt", words), bytes_read=10_000)
            size += 10_000
        return size

    assert bytes_until_full(None) == 100_000  # the first
    now._is_first = False
    assert [bytes_until_full(left) for left in (None, 5_000_000, 600_000, 100, 0)] == [
        2_000_000,
        2_000_000,
        300_000,
        100_000,
        100_000,
    ]
