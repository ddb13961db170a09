"""How long a search takes in large libraries, beside raw FTS5 and raw numpy on the same rows in the same process.

The text is real: halves of passages of Python's standard library, joined anew, so that words are as frequent as they
are in it. The vectors are those of the passages, mixed the same way.
"""

import os
import random
import re
import resource
import sqlite3
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlx_mixer.benchmarks.timing import Figure
from mlx_mixer.documents.contents import save_contents
from mlx_mixer.documents.database import connect, open_database
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.packing import pack
from mlx_mixer.documents.query import parse_query
from mlx_mixer.documents.records import ChunkData, ContentData
from mlx_mixer.documents.vectors import TextEmbedder, to_blob
from mlx_mixer.documents.words import identifier_words
from mlx_mixer.paths import default_paths

SIZES = (100_000, 1_000_000)
# By passages: milliseconds of the median and of the slowest of twenty, seconds of a cold start.
_GOALS = {100_000: (30.0, 60.0, 1.5), 1_000_000: (None, 250.0, None)}
_NO_GOALS = (None, None, None)
_PASSAGES = 8192
_PASSAGE_CHARACTERS = 620
_PASSAGES_PER_DOCUMENT = 20
_QUERIES = 200
_WARM_UP = 20
_COLD_STARTS = 5

Floats = NDArray[np.float32]


def search_figures(embedder: TextEmbedder, sizes: Sequence[int] = SIZES) -> dict[str, Figure]:
    """Build a library of each size in a folder that is deleted afterwards, and search it."""
    figures: dict[str, Figure] = {}
    passages = stdlib_passages(_PASSAGES)
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="mlx-mixer-bench-") as home:
            path = default_paths({"MLX_MIXER_HOME": home}).library
            path.parent.mkdir(parents=True)
            build_library(path, size, passages, embedder)
            figures |= {f"{what}_{size}": figure for what, figure in _warm(path, size, passages, embedder).items()}
            figures[f"search_cold_{size}"] = _cold(Path(home), passages, _GOALS.get(size, _NO_GOALS)[2])
    return figures


def stdlib_passages(count: int) -> list[str]:
    """Return passages of the standard library's own sources, cut at line ends."""
    passages: list[str] = []
    folder = Path(sysconfig.get_path("stdlib"))
    for file in sorted(folder.glob("*.py")) + sorted(folder.glob("[a-z]*/*.py")):
        text = file.read_text(encoding="utf-8", errors="replace")
        start = 0
        while start < len(text) and len(passages) < count:
            end = text.rfind("\n", start, start + _PASSAGE_CHARACTERS) + 1
            end = end if end > start else start + _PASSAGE_CHARACTERS
            passages.append(text[start:end])
            start = end
    return passages


def build_library(path: Path, chunks: int, passages: Sequence[str], embedder: TextEmbedder) -> None:
    """Write a library of `chunks` passages, with files of no content beside it."""
    vectors = embedder.embed(passages, "document")
    folder = path.parent / "files"
    db = open_database(path)
    rng = np.random.default_rng(1)
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO roots (id, path) VALUES (1, ?)", [os.fsencode(folder)])
    for document in range(1, chunks // _PASSAGES_PER_DOCUMENT + 1):
        file = folder / f"{document // 1000}" / f"document-{document}.py"
        if document % 1000 == 0 or document == 1:
            file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        pairs = rng.integers(0, len(passages), (_PASSAGES_PER_DOCUMENT, 2))
        bodies = [_spliced(passages[a], passages[b]) for a, b in pairs]
        parts = [ChunkData(0, 1 + 20 * seq, None, "", body, identifier_words(body)) for seq, body in enumerate(bodies)]
        data = ContentData(document.to_bytes(16, "little"), "python", 1, "", "utf-8", 0, "", "", parts, pack(parts))
        (content,) = save_contents(db, [data])
        db.execute(
            "INSERT INTO files (root, path, folder, name, size, mtime_ns, inode, state, content, suffix)"
            " VALUES (1, ?, ?, ?, 0, 0, 0, 'indexed', ?, 'py')",
            [os.fsencode(file), file.parent.name, file.name, content],
        )
        mixed = vectors[pairs].sum(axis=1) + 0.02 * rng.standard_normal((len(pairs), embedder.dims))
        mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
        db.execute(
            "INSERT INTO vectors (content, fingerprint, dims, data) VALUES (?, ?, ?, ?)",
            [content, embedder.fingerprint, embedder.dims, to_blob(mixed)],
        )
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def queries(passages: Sequence[str], count: int) -> list[str]:
    """Return questions of three to eight words as they stand in the passages, common words among them."""
    rng = random.Random(2)
    asked: list[str] = []
    while len(asked) < count:
        words = re.findall(r"[A-Za-z]{2,}", rng.choice(passages))
        if len(words) > 10:
            start = rng.randrange(len(words) - 8)
            asked.append(" ".join(words[start : start + rng.randint(3, 8)]))
    return asked


def _warm(path: Path, size: int, passages: Sequence[str], embedder: TextEmbedder) -> dict[str, Figure]:
    asked = queries(passages, _QUERIES + _WARM_UP)
    with Library(path, embedder=embedder) as library:
        hybrid = list(_milliseconds(lambda text: library.search(text), asked))
        marked = list(_milliseconds(lambda text: library.search(text, grouped=True, highlight=True), asked))
        words = list(_milliseconds(lambda text: library.search(text, words_only=True), asked))
    # Before the comparisons below, which hold their own copy of the vectors.
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    median_goal, slowest_goal, _ = _GOALS.get(size, _NO_GOALS)
    figures = {
        "search_p50": _percentile(hybrid, 50, median_goal),
        "search_p95": _percentile(hybrid, 95, slowest_goal),
        "search_marked_p50": _percentile(marked, 50),
        "search_words_p50": _percentile(words, 50),
        "search_words_p95": _percentile(words, 95),
        "raw_fts5_p50": _percentile(list(_raw_fts5(path, asked)), 50),
        "memory": Figure(memory / 1e9, "GB", memory / 1e9, memory / 1e9, "<= 4" if size >= 1_000_000 else None),
    }
    if size <= 200_000:  # twice the memory of the library's own
        figures["raw_numpy_p50"] = _percentile(list(_raw_numpy(path, asked, embedder)), 50)
    return figures


def _milliseconds(search: Callable[[str], object], asked: Sequence[str]) -> Iterator[float]:
    for number, text in enumerate(asked):
        started = time.perf_counter()
        search(text)
        if number >= _WARM_UP:
            yield (time.perf_counter() - started) * 1e3


def _raw_fts5(path: Path, asked: Sequence[str]) -> Iterator[float]:
    """The best hundred of the words joined with OR, and nothing else."""
    db = connect(path)
    statement = "SELECT rowid FROM chunks_fts WHERE chunks_fts MATCH ? ORDER BY rank LIMIT 100"
    yield from _milliseconds(
        lambda text: db.execute(statement, [parse_query(text).match_expression()]).fetchall(),
        asked[: _WARM_UP + _QUERIES // 4],
    )
    db.close()


def _raw_numpy(path: Path, asked: Sequence[str], embedder: TextEmbedder) -> Iterator[float]:
    """The best hundred cosines of all rows in float32, and nothing else; the query's vector is made before."""
    connection = sqlite3.connect(path)
    rows = [
        np.frombuffer(data, "<f2").reshape(-1, embedder.dims)
        for (data,) in connection.execute("SELECT data FROM vectors")
    ]
    connection.close()
    matrix = np.concatenate(rows).astype(np.float32)
    vectors = dict(zip(asked, embedder.embed(asked, "query"), strict=True))

    def best(text: str) -> object:
        scores = matrix @ vectors[text]
        return np.argpartition(-scores, 100)[:100]

    yield from _milliseconds(best, asked)


def _cold(home: Path, passages: Sequence[str], goal: float | None) -> Figure:
    """Seconds from starting a process to the first line of its answer."""
    seconds = []
    for text in queries(passages, _COLD_STARTS + 1):
        started = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-m", "mlx_mixer", "search", text],
            env={**os.environ, "MLX_MIXER_HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            seconds.append(time.perf_counter() - started)
            process.stdout.read()
    wanted = None if goal is None else f"< {goal}"
    return Figure(statistics.median(seconds[1:]), "s", min(seconds[1:]), max(seconds[1:]), wanted)


def _percentile(values: Sequence[float], percent: int, goal: float | None = None) -> Figure:
    value = float(np.percentile(np.array(values), percent))
    return Figure(value, "ms", min(values), max(values), None if goal is None else f"<= {goal:.0f}")


def _spliced(first: str, second: str) -> str:
    return first[: len(first) // 2] + second[len(second) // 2 :]
