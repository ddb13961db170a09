"""A process killed at any moment loses at most the batch at hand, and damages nothing.

A child adds documents with a real embedder and reports what it has committed. It dies of SIGKILL, sent from outside
after some steps of its work or by itself before some SQL statement; the files change, and another child goes on in the
same library.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlx_mixer.documents.library import Library
from mlx_mixer.embedding import load_embedder
from tests.mlx_mixer.documents.helpers import write_tree
from tests.tiny import tiny_model_folder

# `make faults` asks for 200.
ROUNDS = int(os.environ.get("MLX_MIXER_FAULT_ROUNDS", "8"))

CHILD = """
import os, signal, sys
from pathlib import Path
from mlx_mixer.documents import batch, meaning
from mlx_mixer.documents.library import Library
from mlx_mixer.embedding import load_embedder

batch._FILES, meaning._BATCH_CHUNKS = 5, 8
library, docs, model = map(Path, sys.argv[1:4])
statements_left = int(sys.argv[4])

def count_down(_):
    global statements_left
    statements_left -= 1
    if statements_left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def report(progress):
    print(f"{progress.stage} {library_object.status().documents}", flush=True)

with Library(library, embedder=load_embedder(model)) as library_object:
    print("ready", flush=True)
    library_object._connections.get().set_trace_callback(count_down)
    library_object.add([docs], progress=report)
    print("finished", flush=True)
"""


def document_text(number: int, version: int) -> str:
    parts = [
        f"## Part {part}\n\n" + f"document {number} version {version} part {part} " * 12 for part in range(number % 5)
    ]
    return f"# Document {number}\n\nneedle {number}\n\n" + "\n\n".join(parts)


def run_and_kill(arguments: list[str], steps: int, seconds: float) -> tuple[int, bool]:
    """Start a child and kill it a moment after it reported some steps of progress, if it still lives.

    Returns:
        How many documents it said it had committed, and whether it was done before the signal came.
    """
    child = subprocess.Popen([sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    lines = [child.stdout.readline() for _ in range(1 + steps)]
    time.sleep(seconds)
    child.send_signal(signal.SIGKILL)
    lines += child.stdout.readlines()
    child.stdout.close()
    child.wait()
    # The signal may cut the last line short.
    whole = [line.split() for line in lines if line.endswith("\n")]
    counts = [int(words[1]) for words in whole if words[0] in ("text", "meaning")]
    return max(counts, default=0), "finished\n" in lines


def check_whole(path: Path) -> int:
    """Check every invariant of the file; return how many documents can be found."""
    with Library(path) as library:
        db = library._connections.get()
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        for table in ("chunks_fts", "names_fts"):
            db.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('integrity-check', 1)")
        for content, characters, chunk_count in db.execute(
            "SELECT id, characters, chunk_count FROM contents"
        ).fetchall():
            bodies = db.execute("SELECT body FROM chunks WHERE content = ? ORDER BY seq", [content]).fetchall()
            assert (len(bodies), sum(len(body) for (body,) in bodies)) == (chunk_count, characters)
            number = bodies[0][0].split()[2]
            found = db.execute(
                "SELECT count(*) FROM chunks_fts JOIN chunks ON chunks.id = chunks_fts.rowid"
                " WHERE chunks_fts MATCH ? AND content = ?",
                [f'"document {number}"', content],
            ).fetchone()
            assert found == (chunk_count,)
        sizes = db.execute(
            "SELECT length(data), 2 * dims * chunk_count FROM vectors JOIN contents ON contents.id = vectors.content"
        ).fetchall()
        assert all(size == expected for size, expected in sizes)
        return library.status().documents


@pytest.mark.timeout(60 + 20 * ROUNDS)
def test_kill_9_at_random_moments_loses_and_damages_nothing(tmp_path: Path) -> None:
    rng = random.Random(7)
    docs, path = tmp_path / "docs", tmp_path / "library.sqlite3"
    model = tiny_model_folder(tmp_path / "model", pooling="token_weighted")
    versions = dict.fromkeys(range(160), 0)
    write_tree(docs, {f"{number}.md": document_text(number, 0) for number in versions})
    killed_at_work = 0
    for round_number in range(ROUNDS):
        by_itself = round_number % 3 != 0
        statements = str(rng.randrange(1, 500) if by_itself else 0)
        steps, seconds = (1000, 0.0) if by_itself else (rng.randrange(14), rng.uniform(0.0, 0.02))
        committed, finished = run_and_kill([str(path), str(docs), str(model), statements], steps, seconds)
        killed_at_work += not finished
        assert check_whole(path) >= committed
        for number in rng.sample(sorted(versions), 40):
            versions[number] += 1
            changed = {f"{number}.md": document_text(number, versions[number])}
            write_tree(docs, changed, mtime_ns=1_700_000_000_000_000_000 + round_number)
    assert killed_at_work >= ROUNDS * 3 // 4
    with Library(path, embedder=load_embedder(model)) as library:
        library.add([docs])
        assert library.status().pending == 0
        for number, version in versions.items():
            hits = library.search(f'"needle {number}"', words_only=True, limit=5).hits
            assert [Path(hit.path).name for hit in hits] == [f"{number}.md"]
            assert (docs / f"{number}.md").read_text() == document_text(number, version)
    assert check_whole(path) == len(versions)
