"""`train retrieval --docs` as a user runs it: with the bundled model, on libraries that can and cannot be learned."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlx_mixer.documents.library import Library
from mlx_mixer.paths import default_paths
from tests.mlx_mixer.personal.made_up import write_files
from tests.processes import start

COMMAND = [sys.executable, "-m", "mlx_mixer"]


def run(*arguments: str, code: int = 0) -> tuple[str, str]:
    # Processes of their own: training in one that has run many other tests takes several times as long.
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def run_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json")[0])


def models() -> list[str]:
    folder = default_paths().models
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_what_can_be_learned_is_learned_proved_installed_and_undone(tmp_path: Path) -> None:
    run("docs", "add", str(write_files(tmp_path / "docs")))
    report = run_json("train", "retrieval", "--docs", "--steps", "10")
    outcome = report["outcome"]
    assert outcome["gain_fused"]["mrr"]["low"] > 0
    assert outcome["gain_alone"]["mrr"]["low"] > 0.1
    assert outcome["old_alone"]["mrr"]["mean"] < 0.2
    (name,) = models()
    assert (report["installed"], report["kept"]) == (name, None)
    status = run_json("docs", "status")
    assert (status["embedder"], status["incoming"], status["pending"]) == (name, None, 0)
    card = (default_paths().models / name / "MODEL_CARD.md").read_text()
    assert f"{outcome['gain_alone']['mrr']['mean']:+.3f}" in card
    assert "embedder   " + name in run("docs", "status")[0]
    # Each of 150 files has three questions; the model learned from those of the others.
    learned = json.loads((default_paths().models / name / "personal.json").read_text())["learned"]["heading"]
    out, err = run("docs", "check", "--dry-run")
    assert out.startswith(f"{450 - learned} headings asked among ")
    assert "the personal model learned from some of your files; only the others are asked about" in err
    assert run("train", "retrieval", "--docs", "--undo")[0] == (
        f"searches go by the bundled model again, not by {name}\n"
    )
    status = run_json("docs", "status")
    assert (status["embedder"], status["pending"]) == ("default", 0)


def test_what_cannot_be_learned_leaves_everything_as_it_was(tmp_path: Path) -> None:
    run("docs", "add", str(write_files(tmp_path / "docs", learnable=False)))
    before = run_json("docs", "status")
    out, err = run("train", "retrieval", "--docs", "--steps", "2")
    assert "It is not shown to find more (MRR@10 alone " in out.splitlines()[-1]
    assert out.endswith("the bundled model stays.\n")
    assert "learning " in err
    assert "testing, model 2 of 2: questions " in err
    assert models() == []
    assert list(default_paths().data.glob(".adapting-*")) == []
    after = run_json("docs", "status")
    assert {**after, "size": 0} == {**before, "size": 0}


def test_a_dry_run_shows_what_was_mined_and_a_file_holds_all_of_it(tmp_path: Path) -> None:
    run("docs", "add", str(write_files(tmp_path / "docs")), "--words-only")
    pairs = tmp_path / "pairs.jsonl"
    out, _ = run("train", "retrieval", "--docs", "--dry-run", "--pairs-out", str(pairs))
    assert out.startswith("150 documents, ")
    records = [json.loads(line) for line in pairs.read_text().splitlines()]
    assert {record["part"] for record in records} == {"train", "valid", "test"}
    paths = {
        part: {record["path"] for record in records if record["part"] == part} for part in ("train", "valid", "test")
    }
    assert not paths["train"] & paths["test"]
    assert not paths["train"] & paths["valid"]
    assert models() == []


def test_too_little_to_learn_from_is_said_in_one_line(tmp_path: Path) -> None:
    run("docs", "add", str(write_files(tmp_path / "docs", 5)), "--words-only")
    err = run("train", "retrieval", "--docs", code=1)[1].splitlines()[-1]
    assert "only 15 questions" in err or "questions to learn from in 5 documents, and 150 are needed" in err


@pytest.mark.parametrize("stage", ["learning", "testing"])
def test_a_kill_before_the_end_changes_nothing(tmp_path: Path, stage: str) -> None:
    docs = write_files(tmp_path / "docs")
    with Library() as library:
        library.add([docs])
        before = library.status()
    child = start(
        [*COMMAND, "train", "retrieval", "--docs", "--steps", "2"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith(stage):
            break
    child.send_signal(signal.SIGKILL)
    child.stderr.close()
    assert child.wait() == -signal.SIGKILL
    with Library() as library:
        assert replace(library.status(), size=0) == replace(before, size=0)
        assert library.search("note3").hits
    assert models() == []
