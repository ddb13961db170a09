"""A watched folder is fresh a moment after it changed, whatever changed it."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlx_mixer.documents.events import AddReport
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.lock import watcher_lock, watching_process, writer_lock
from mlx_mixer.documents.watch import Watcher, WatchTimes, _outermost
from mlx_mixer.errors import LibraryError
from tests.mlx_mixer.documents.helpers import write_tree

QUICK = WatchTimes(sweep=3600.0, settle=0.05, longest=0.3, pause=0.1)


@contextmanager
def watched(library: Library, times: WatchTimes = QUICK) -> Iterator[list[AddReport]]:
    """Run a watcher in a thread of its own; the first report is that of the sweep it begins with."""
    reports: list[AddReport] = []
    failures: list[BaseException] = []
    stop = threading.Event()

    def run() -> None:
        try:
            Watcher(library, reports.append, times).run(stop)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_until(lambda: bool(reports or failures))
        time.sleep(0.3)  # until the system watches; the sweep that would find it otherwise is far away
        yield reports
    finally:
        stop.set()
        thread.join(30)
    assert not failures
    assert not thread.is_alive()


def wait_until(is_so: object, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


def finds(library: Library, word: str) -> list[str]:
    return sorted(Path(hit.path).name for hit in library.search(word).hits)


def test_changes_are_searchable_a_moment_later(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", {"old.txt": "the old needle", "deep/er/gone.txt": "vanishing"})
    library.add([docs])
    with watched(library):
        write_tree(docs, {"new/fresh.txt": "brandnew words"})
        wait_until(lambda: finds(library, "brandnew") == ["fresh.txt"])
        (docs / "old.txt").write_text("a changed haystack")
        wait_until(lambda: finds(library, "haystack") == ["old.txt"])
        (docs / "old.txt").rename(docs / "new/renamed.txt")
        wait_until(lambda: finds(library, "haystack") == ["renamed.txt"])
        (docs / "deep/er/gone.txt").unlink()
        (docs / "deep/er").rmdir()
        wait_until(lambda: all("gone" not in row.path for row in library.documents()))
        write_tree(docs, {".gitignore": "new/\n"})
        wait_until(lambda: library.documents() == [])


def test_what_a_walk_leaves_out_wakes_nobody(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", {"a.txt": "x", ".git/config": "x"})
    library.add([docs])
    with watched(library) as reports:
        write_tree(docs, {".git/index": "x", "node_modules/a/b.js": "x"})
        write_tree(docs, {"b.txt": "second"})
        wait_until(lambda: finds(library, "second") == ["b.txt"])
    assert sum(report.added for report in reports) == 1
    assert len(reports) <= 3


def test_a_sweep_finds_what_no_notice_told(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", {"a.txt": "x"})
    library.add([docs])
    (tmp_path / "away").mkdir()
    # A root that appears only later cannot be watched from the beginning.
    late = write_tree(tmp_path / "late", {"b.txt": "latecomer"})
    library.add([late])
    late.rename(tmp_path / "away/late")
    with watched(library, WatchTimes(sweep=0.5, settle=0.05, longest=0.3, pause=0.1)):
        (tmp_path / "away/late").rename(late)
        write_tree(late, {"c.txt": "discovered"})
        wait_until(lambda: finds(library, "discovered") == ["c.txt"])


def test_another_writer_is_waited_for(library: Library, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", {"a.txt": "x"})
    library.add([docs])
    with watched(library):
        with writer_lock(library.path):
            write_tree(docs, {"b.txt": "patience"})
            time.sleep(0.5)
            assert finds(library, "patience") == []
        wait_until(lambda: finds(library, "patience") == ["b.txt"])


def test_a_folder_added_meanwhile_is_watched_too(library: Library, tmp_path: Path) -> None:
    library.add([write_tree(tmp_path / "docs", {"a.txt": "x"})])
    with watched(library):
        other = write_tree(tmp_path / "other", {"b.txt": "x"})
        with Library(library.path) as second:
            wait_until(lambda: second.add([other]).added == 1)
        time.sleep(0.5)
        write_tree(other, {"c.txt": "elsewhere"})
        wait_until(lambda: finds(library, "elsewhere") == ["c.txt"])


def test_one_process_watches_and_others_can_tell(tmp_path: Path) -> None:
    path = tmp_path / "library.sqlite3"
    assert watching_process(path) is None
    with watcher_lock(path):
        assert watching_process(path) == os.getpid()
        with pytest.raises(LibraryError, match=rf"process {os.getpid()} watches"), watcher_lock(path):
            pass
    assert watching_process(path) is None


def test_places_inside_others_are_looked_at_once() -> None:
    assert _outermost([b"/a/b/c", b"/a/b", b"/a/bc", b"/a-b", b"/x/y.txt"]) == [b"/a-b", b"/a/b", b"/a/bc", b"/x/y.txt"]


def git(folder: Path, *arguments: str) -> None:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, env=environment)


def test_switching_branches_back_and_forth_embeds_nothing(library: Library, embedder: object, tmp_path: Path) -> None:
    repo = write_tree(tmp_path / "repo", {f"{n}.md": f"# Part {n}\n\nmain text {n}\n" for n in range(6)})
    git(repo, "init", "-q", "-b", "main")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "one")
    git(repo, "checkout", "-qb", "topic")
    for number in range(3):
        (repo / f"{number}.md").write_text(f"# Part {number}\n\ntopic text {number}\n")
    (repo / "5.md").unlink()
    (repo / "new.md").write_text("# New\n\nonly on the topic\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "two")
    library.attach(embedder)  # type: ignore[arg-type]
    assert library.add([repo]).embedded == 6
    git(repo, "checkout", "-q", "main")
    assert library.refresh().embedded == 4
    for branch in ("topic", "main", "topic", "main"):
        git(repo, "checkout", "-q", branch)
        report = library.refresh()
        assert (report.embedded, report.failed) == (0, ())
        listed = {Path(row.path).name for row in library.documents()}
        assert listed == {path.name for path in repo.glob("*.md")}
        assert all(row.has_meaning for row in library.documents())
    git(repo, "mv", "1.md", "moved.md")
    (repo / "copy.md").write_bytes((repo / "2.md").read_bytes())
    assert library.refresh().embedded == 0
