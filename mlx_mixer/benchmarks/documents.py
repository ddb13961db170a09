"""How fast files are found again, and their words made searchable; beside the bare operations in the same run."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from mlx_mixer.benchmarks.timing import Figure, summarise
from mlx_mixer.documents.events import Progress
from mlx_mixer.documents.library import Library

TREE_FILES = 50_000
FILES_PER_FOLDER = 100
CORPUS_BYTES = 10_000_000
ROUNDS = 3
# A known time long past, so that the files count as settled.
_OLD = (1_700_000_000, 1_700_000_000)
_TOKENIZE = "porter unicode61 remove_diacritics 2"


def document_figures() -> dict[str, Figure]:
    """Walk a tree that did not change, take in source code and documentation, and wait for the first file."""
    with tempfile.TemporaryDirectory(prefix="mlx-mixer-bench-") as name:
        folder = Path(name)
        return {**_scan_figures(folder), **_text_figures(folder), **_first_file_figures(folder)}


def _scan_figures(folder: Path) -> dict[str, Figure]:
    tree = _small_files(folder / "tree")
    bare, known = [], []
    with Library(folder / "scan.sqlite3") as library:
        library.add([tree])
        for _ in range(ROUNDS):
            bare.append(TREE_FILES / _seconds(lambda: _walk(tree)))
            known.append(TREE_FILES / _seconds(library.refresh))
    return {
        "documents_scan": summarise(known, "files/s", ">= 50,000"),
        "documents_scan_bare": summarise(bare, "files/s"),
    }


def _text_figures(folder: Path) -> dict[str, Figure]:
    corpus = folder / "corpus"
    megabytes = _copy_corpus(corpus) / 1e6
    texts = [path.read_text(errors="replace") for path in corpus.rglob("*") if path.is_file()]
    ours, raw, ratios = [], [], []
    for number in range(ROUNDS):
        path = folder / f"text{number}.sqlite3"
        raw.append(megabytes / _seconds(partial(_insert_raw, folder / f"raw{number}.sqlite3", texts)))
        with Library(path) as library:
            ours.append(megabytes / _seconds_of_text(library, corpus))
        ratios.append(path.stat().st_size / 1e6 / megabytes)
    raw_ratio = (folder / "raw0.sqlite3").stat().st_size / 1e6 / megabytes
    return {
        "documents_text": summarise(ours, "MB/s", ">= 8"),
        "documents_text_raw_fts5": summarise(raw, "MB/s"),
        "documents_index": summarise(ratios, "x the text", "<= 1.6"),
        "documents_index_raw_fts5": summarise([raw_ratio], "x the text"),
    }


def _first_file_figures(folder: Path) -> dict[str, Figure]:
    """From the start of `docs add` in a new process until a search finds the first file."""
    return {
        "documents_first_file": summarise(
            [_first_file(folder / f"home{number}", folder / "corpus") for number in range(ROUNDS)], "s", "< 1"
        )
    }


def _first_file(home: Path, corpus: Path) -> float:
    environment = {**os.environ, "MLX_MIXER_HOME": str(home)}
    command = [sys.executable, "-m", "mlx_mixer", "docs", "add", str(corpus), "--words-only"]
    with Library(home / "data" / "library.sqlite3") as library:
        started = time.perf_counter()
        adding = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not library.search("import", words_only=True, limit=1).hits:
                if adding.poll() is not None:
                    raise RuntimeError(f"docs add ended with {adding.returncode} and nothing to find")
                time.sleep(0.005)
            return time.perf_counter() - started
        finally:
            adding.kill()
            adding.wait()


def _small_files(tree: Path) -> Path:
    for number in range(TREE_FILES // FILES_PER_FOLDER):
        folder = tree / f"part{number // 25}" / f"module{number}"
        folder.mkdir(parents=True)
        for file in range(FILES_PER_FOLDER):
            path = folder / f"file_name_{file}.{'py' if file % 2 else 'md'}"
            path.write_text(f"# title {number} {file}\n")
            os.utime(path, _OLD)
    return tree


def _walk(root: Path) -> int:
    """What any walk must do at least: list every folder and look at every entry."""
    count, pending = 0, [os.fsencode(root)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if stat.S_ISDIR(entry.stat(follow_symlinks=False).st_mode):
                    pending.append(entry.path)
                else:
                    count += 1
    return count


def _copy_corpus(corpus: Path) -> int:
    """Copy half source code of Python itself, and half descriptions of the packages installed here, as Markdown."""
    return sum(
        _copy(files, corpus / name, CORPUS_BYTES // 2)
        for name, files in (("code", _standard_library()), ("prose", _package_descriptions()))
    )


def _standard_library() -> Iterator[Path]:
    root = Path(sysconfig.get_paths()["stdlib"])
    return (path for path in sorted(root.rglob("*.py")) if "site-packages" not in path.parts)


def _package_descriptions() -> Iterator[Path]:
    root = Path(sysconfig.get_paths()["purelib"])
    return (path for pattern in ("*/METADATA", "**/*.md", "**/*.rst") for path in sorted(root.glob(pattern)))


def _copy(files: Iterator[Path], folder: Path, most: int) -> int:
    copied = 0
    folder.mkdir(parents=True)
    for number, path in enumerate(files):
        size = path.stat().st_size
        if copied + size > most:
            break
        suffix = path.suffix or ".md"
        target = folder / f"{number}_{path.stem}{suffix}"
        shutil.copyfile(path, target)
        os.utime(target, _OLD)
        copied += size
    return copied


def _insert_raw(path: Path, texts: list[str]) -> None:
    """Put whole files into a full-text table that keeps the text itself."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(f"CREATE VIRTUAL TABLE texts USING fts5 (body, tokenize = '{_TOKENIZE}')")
        db.execute("BEGIN")
        db.executemany("INSERT INTO texts (body) VALUES (?)", ((text,) for text in texts))
        db.execute("COMMIT")


def _seconds_of_text(library: Library, corpus: Path) -> float:
    """Until the last file is searchable; the daily check and copy that may follow do not count."""
    started = ended = time.perf_counter()

    def note(progress: Progress) -> None:
        nonlocal ended
        if progress.stage == "text":
            ended = time.perf_counter()

    library.add([corpus], progress=note)
    return ended - started


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
