"""The commands, from end to end as a user runs them, at sizes that take seconds."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from mlx_mixer.study.settings import AutoencoderSettings, LearningSettings, RecoverySettings, RetrievalSettings
from tests.commands import run_here
from tests.mlx_mixer.training.runs import WORDS
from tests.processes import start

TINY = (
    *("--hidden-size", "16", "--num-layers", "1", "--num-heads", "2", "--vocab-size", "320", "--characters", "60000"),
    *("--tokens-per-batch", "128", "--seconds", "0.05"),
)
OWN = {
    "recovery": ("--context-length", "8", "--inputs", "2", "--trial-inputs", "1", "--iterations", "3"),
    "learning": ("--context-lengths", "8,16"),
    "retrieval": (
        *("--context-length", "16", "--query-length", "8", "--candidates", "4,64", "--direct-slots", "4"),
        *("--queries", "64", "--pairs-per-batch", "8", "--sets-per-batch", "4"),
    ),
    "autoencoder": ("--context-lengths", "8"),
}
# Recovery: 3 states, 2 outputs, 2 descents, 2 models. Retrieval: 4 stages of 2 models, and BM25.
ROWS = {"recovery": 24, "learning": 4, "retrieval": 9, "autoencoder": 2}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts that are pairs too, no question twice."""
    rng = random.Random(0)
    file = tmp_path_factory.mktemp("study") / "pairs.jsonl"
    lines = (
        {"query": f"{rng.choice(WORDS)} number {n}", "passage": f"Text {n}: {' '.join(rng.choices(WORDS, k=30))}."}
        for n in range(200)
    )
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def arguments(name: str, records: Path, out: Path, *more: str) -> list[str]:
    data = ["--pairs" if name == "retrieval" else "--texts", str(records)]
    return ["study", name, "-o", str(out), *data, *TINY, *OWN[name], *more]


def run(name: str, records: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return run_here(*arguments(name, records, out, *more))


@pytest.mark.parametrize("name", OWN)
def test_a_study_prints_its_results_and_draws_them_and_says_the_same_again(
    name: str, records: Path, tmp_path: Path
) -> None:
    done = run(name, records, tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["study"] == name
    assert found["settings"]["hidden_size"] == 16
    assert len(found["rows"]) == ROWS[name]
    assert {row["model"] for row in found["rows"]} >= {"mixer", "llama"}
    root = ElementTree.parse(found["picture"]).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert sum(element.tag.endswith(("polyline", "rect")) for element in root.iter()) > 2
    assert " left" in done.stderr

    picture = Path(found["picture"]).read_bytes()
    again = run(name, records, tmp_path / "out")
    assert again.returncode == 0, again.stderr
    assert "going on" in again.stderr
    assert " left" not in again.stderr  # nothing was computed
    _check_table(name, again.stdout, found)
    assert Path(found["picture"]).read_bytes() == picture


def _check_table(name: str, table: str, found: dict[str, Any]) -> None:
    row = found["rows"][0]
    if name == "recovery":
        shown = f"{row['hamming']:.3f}"
    elif name == "retrieval":
        shown = f"{100 * row['top1']['4']['accuracy']:.1f}+-"
    else:
        shown = f"{row['loss']:.3f}"
    assert shown in table.splitlines()[2]


def test_a_killed_study_goes_on_where_it_was(records: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "mlx_mixer", *arguments("learning", records, out)]
    process = start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    results = out / "results.json"
    deadline = time.monotonic() + 120
    kept: dict[str, Any] = {}
    while len(kept) < 2 and time.monotonic() < deadline and process.poll() is None:
        kept = json.loads(results.read_text())["cells"] if results.exists() else {}
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 2 <= len(kept) < 10
    done = run("learning", records, out, "--json")
    assert done.returncode == 0, done.stderr
    cells = json.loads(results.read_text())["cells"]
    assert {name: cells[name] for name in kept} == kept
    assert len(cells) == 10


def test_wrong_use_is_one_line(records: Path, tmp_path: Path) -> None:
    done = run("learning", records, tmp_path / "out", "--context-lengths", "8,x")
    assert done.returncode == 2
    assert "'8,x' is no list of whole numbers such as 32,128" in done.stderr
    done = run("learning", records, tmp_path / "out", "--num-heads", "3")
    assert done.returncode == 2
    assert "hidden_size is 16; it must be a multiple of twice num_heads (3)" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", [RecoverySettings, LearningSettings, RetrievalSettings, AutoencoderSettings])
def test_a_quick_run_is_smaller_in_every_way(kind: Any) -> None:
    full, quick = kind(), kind.quick()
    assert quick.seconds < full.seconds / 10
    assert quick.hidden_size < full.hidden_size
    assert quick.characters < full.characters
