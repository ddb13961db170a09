"""What happens to a library when the world around it misbehaves, with real disks, limits and permissions."""

import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlx_mixer.documents import batch, health
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.scan import scan
from mlx_mixer.errors import LibraryError
from tests.mlx_mixer.documents.helpers import write_tree

# `make faults` asks for a million.
FILES = int(os.environ.get("MLX_MIXER_FAULT_FILES", "5000"))
NOBODY = 65534

TREE = {"a.md": "# Alpha\n\nfirst needle\n", "deep/b.md": "# Beta\n\nsecond needle\n", "c.txt": "third\n"}


def mount(*arguments: str) -> bool:
    return sys.platform == "linux" and subprocess.run(["mount", *arguments], capture_output=True).returncode == 0


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A file system of its own, where this may be had."""
    folder.mkdir(exist_ok=True)
    if not mount("-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)):
        pytest.skip("mounting takes a superuser on Linux")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def as_nobody(work: Callable[..., object], *arguments: object) -> object:
    """Call a function in a child process whose user permissions bind; return what it returns."""
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork"), initializer=_become_nobody)
    with pool:
        return pool.submit(work, *arguments).result(60)


def _become_nobody() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def open_the_way_to(folder: Path) -> None:
    """Let others pass the folders that pytest keeps to itself."""
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.geteuid() and len(parent.parts) > 2:
            parent.chmod(0o755)


def check_sound(library: Library) -> None:
    db = library._connections.get()
    assert health.faults_in_file(db) + health.faults_in_words(db) == []


def test_a_root_on_an_unmounted_disk_keeps_its_index(library: Library, tmp_path: Path) -> None:
    disk, copy = tmp_path / "disk", tmp_path / "home"
    with small_disk(disk, 4):
        write_tree(disk / "docs", TREE)
        write_tree(copy, {"own.txt": "stays"})
        library.add([disk / "docs", copy])
    # Unmounted; the mount point is an empty folder now.
    for _ in range(3):
        report = library.refresh()
        assert [(Path(note.path), note.reason) for note in report.failed] == [(disk / "docs", "no such file or folder")]
        assert report.removed == 0
    assert library.status().documents == 4
    assert library.search("needle").hits == ()  # not shown while they cannot be opened
    with small_disk(disk, 4):
        write_tree(disk / "docs", TREE)
        report = library.refresh()
        assert (report.added, report.removed) == (0, 0)
        assert len(library.search("needle").hits) == 2


def test_a_mount_point_that_is_itself_a_root_or_lies_in_one_keeps_its_index(library: Library, tmp_path: Path) -> None:
    home = write_tree(tmp_path / "home", {"own.txt": "stays"})
    for inside in (tmp_path / "alone", home / "disk"):
        with small_disk(inside, 4):
            write_tree(inside, TREE)
            library.add([home, tmp_path / "alone"] if inside == home / "disk" else [inside])
    for _ in range(3):
        report = library.refresh()
        assert report.removed == 0
        assert [note.reason for note in report.failed] == ["empty, and the disk it was on is not mounted"]
    assert library.status().documents == 7
    # Files put where the disk was are taken at their word.
    write_tree(home / "disk", {"a.md": TREE["a.md"]})
    assert library.refresh().removed == 2


def test_a_disk_that_is_full_stops_the_work_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_FILES", 4)
    docs = write_tree(tmp_path / "docs", {f"{n}.txt": f"needle {n} " + f"more text {n} " * 900 for n in range(80)})
    disk = tmp_path / "disk"
    with small_disk(disk, 3), Library(disk / "library.sqlite3") as library:
        with pytest.raises(LibraryError, match=r"(full|disk I/O error) \([\d,]+ MB free\)"):
            library.add([docs])
        committed = library.status().documents
        assert 0 < committed < 80
        check_sound(library)
        for number in range(20):
            (docs / f"{number}.txt").unlink()
        subprocess.run(["mount", "-o", "remount,size=40m", str(disk)], check=True)
        report = library.refresh()
        assert report.added + report.unchanged == 60
        check_sound(library)


LIMITED = """
import resource, sys
from mlx_mixer.documents import batch
from mlx_mixer.documents.library import Library
from mlx_mixer.errors import LibraryError
from pathlib import Path
batch._FILES = 4
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    with Library(Path(sys.argv[1])) as library:
        library.add([sys.argv[2]])
except LibraryError as error:
    print(error)
"""


@pytest.mark.parametrize("kilobytes", [300, 1500])
def test_a_file_that_may_not_grow_stops_the_work_at_any_size(tmp_path: Path, kilobytes: int) -> None:
    docs = write_tree(tmp_path / "docs", {f"{n}.txt": f"needle {n} " + f"more text {n} " * 900 for n in range(80)})
    path = tmp_path / "library.sqlite3"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), str(docs), str(kilobytes * 1000)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    with Library(path) as library:
        check_sound(library)
        before = library.status().documents
        report = library.add([docs])
        assert (report.unchanged, report.added) == (before, 80 - before)


def _search_and_add(path: Path, docs: Path) -> tuple[int, bool, str]:
    with Library(path) as library:
        found, is_read_only = len(library.search("needle").hits), library.status().read_only
        try:
            library.add([docs])
        except LibraryError as error:
            return found, is_read_only, str(error)
        return found, is_read_only, "added"


@pytest.mark.parametrize("is_cleanly_closed", [True, False])
def test_a_library_that_cannot_be_written_can_be_searched(tmp_path: Path, is_cleanly_closed: bool) -> None:
    docs = write_tree(tmp_path / "docs", TREE)
    path = tmp_path / "data" / "library.sqlite3"
    with Library(path) as library:
        library.add([docs])
        if not is_cleanly_closed:  # as after a crash: text that is in the log only
            shutil.copytree(path.parent, tmp_path / "crashed")
            path = tmp_path / "crashed" / "library.sqlite3"
    assert path.with_name("library.sqlite3-wal").exists() != is_cleanly_closed
    open_the_way_to(tmp_path)
    for file in path.parent.iterdir():
        file.chmod(0o444)
    path.parent.chmod(0o555)
    found, is_read_only, message = as_nobody(_search_and_add, path, docs)  # type: ignore[misc]
    path.parent.chmod(0o755)
    assert (found, is_read_only) == (2, True)
    assert "cannot write to" in message


def _walk(folder: Path) -> list[str]:
    return [
        f"{type(item).__name__} {os.fsdecode(item.path).removeprefix(f'{folder}/')} {getattr(item, 'reason', '')}"
        for item in scan(bytes(folder))
    ]


def test_folders_that_may_not_be_entered_are_named_and_passed(tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", {"locked/a.txt": "x", "open/b.txt": "x", "listed/c.txt": "x"})
    open_the_way_to(docs)
    (docs / "open").chmod(0o755)
    (docs / "locked").chmod(0o000)
    (docs / "listed").chmod(0o744)
    walked = as_nobody(_walk, docs)
    (docs / "locked").chmod(0o755)
    assert walked == ["LeftOut listed/c.txt permission denied", "LeftOut locked permission denied", "Found open/b.txt "]


def test_files_that_change_and_vanish_while_being_read_are_indexed_as_they_end_up(
    library: Library, tmp_path: Path
) -> None:
    docs = write_tree(tmp_path / "docs", {f"{n}.txt": f"text {n}" for n in range(300)})
    stop = threading.Event()

    def disturb() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            path = docs / f"{number % 300}.txt"
            path.write_text(f"version {number} " * (number % 50 + 1))
            if number % 7 == 0:
                path.unlink()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(3):
            assert all(note.reason == "no such file or directory" for note in library.refresh([docs]).failed)
            library.add([docs])
    finally:
        stop.set()
        thread.join()
    library.refresh()
    db = library._connections.get()
    rows = db.execute("SELECT path, content FROM files WHERE missing_since IS NULL AND state = 'indexed'").fetchall()
    assert {os.fsdecode(path) for path, _ in rows} == {str(path) for path in docs.iterdir()}
    for path, content in rows:
        bodies = db.execute("SELECT body FROM chunks WHERE content = ? ORDER BY seq", [content])
        assert "".join(body for (body,) in bodies) == Path(os.fsdecode(path)).read_text()
    check_sound(library)


@pytest.mark.timeout(300 + FILES // 1000)
def test_a_folder_of_very_many_files_is_walked_in_little_memory(library: Library, tmp_path: Path) -> None:
    """Names alone of a million files are a hundred megabytes; the walk holds a few thousand entries at a time."""
    folder = tmp_path / "many"
    folder.mkdir()
    first = folder / "0.txt"
    first.write_text("the same needle\n")
    # Links to a few files: making a file of its own for each takes minutes, and the walk cannot tell.
    for number in range(1, FILES):
        if number % 30000 == 0:
            first = folder / f"{number}.txt"
            first.write_text("the same needle\n")
        else:
            os.link(first, folder / f"{number}.txt")
    tracemalloc.start()
    walked = sum(1 for _ in scan(bytes(folder)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert walked == FILES
    assert peak < 8_000_000
    assert library.add([folder]).added == FILES
    assert library.refresh().unchanged == FILES
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert memory < 2_000_000 if sys.platform == "linux" else True  # kilobytes there
