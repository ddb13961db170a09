"""Commands that print results: JSON for programs, text for people."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_mixer.checkpoint import load, save_model
from mlx_mixer.embedding import load_embedder
from mlx_mixer.sampling import SamplingSettings
from mlx_mixer.text import stream_generate
from tests.tiny import tiny_model_folder
from tests.tiny_kinds import CONFIGS, model_of


def run(*arguments: str, stdin: str = "", code: int = 0) -> str:
    command = [sys.executable, "-m", "mlx_mixer", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout


def run_json(*arguments: str, stdin: str = "") -> Any:
    return json.loads(run(*arguments, "--json", stdin=stdin))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model_folder(tmp_path_factory.mktemp("model"), pooling="token_weighted", seed=3)


def test_generate_prints_what_the_library_generates(folder: Path) -> None:
    settings = SamplingSettings(temperature=0, max_tokens=9)
    chunks = list(stream_generate(*load(folder), "The package manager", settings=settings))
    options = ["--prompt", "The package manager", "--model", str(folder), "--max-tokens", "9", "--temperature", "0"]
    result = run_json("generate", *options)
    assert result["text"] == "".join(chunk.text for chunk in chunks)
    assert result["token_ids"] == [chunk.token_id for chunk in chunks]
    assert result["finish_reason"] == chunks[-1].finish_reason
    assert result["prompt_tokens"] == len("The package manager")
    assert result["generation_tokens"] == len(chunks)
    assert result["tokens_per_second"] > 0
    assert run("generate", *options) == result["text"] + "\n"


def test_piped_text_is_put_after_the_prompt(folder: Path) -> None:
    both = run_json("generate", "-p", "ab", "-m", str(folder), "-n", "1", stdin="cd")
    assert both["prompt_tokens"] == len("ab\ncd")
    piped = run_json("generate", "-p", "-", "-m", str(folder), "-n", "1", stdin="cd")
    assert piped["prompt_tokens"] == 2


def test_generate_without_a_text_or_with_two_is_refused() -> None:
    run("generate", code=2)
    run("generate", "a", "--prompt", "b", code=2)
    run("generate", "-p", "a", "--temperature", "-1", code=2)


def test_embed_prints_the_vectors_of_the_library(folder: Path) -> None:
    vectors = load_embedder(folder).embed(["one", "two words"])
    result = run_json("embed", "one", "two words", "--model", str(folder))
    np.testing.assert_allclose(result["embeddings"], vectors, atol=1e-6)
    lines = run("embed", "--model", str(folder), stdin="one\ntwo words\n").splitlines()
    np.testing.assert_allclose([[float(x) for x in line.split()] for line in lines], vectors, atol=1e-5)


@pytest.mark.parametrize(
    ("command", "kind"), [(["embed"], "retrieval"), (["generate", "-n", "1"], "autoencoding_repeat")]
)
def test_a_kind_of_model_that_cannot_do_it_is_named(command: list[str], kind: str, tmp_path: Path) -> None:
    save_model(tmp_path, model_of(CONFIGS[kind]))
    done = subprocess.run(
        [sys.executable, "-m", "mlx_mixer", *command, "a", "-m", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert f"type '{CONFIGS[kind].model_type}'" in done.stderr


def test_models_are_listed_with_those_that_cannot_be_used() -> None:
    root = Path(os.environ["MLX_MIXER_HOME"]) / "data" / "models"
    tiny_model_folder(root / "mine")
    (root / "broken").mkdir()
    (root / "broken" / "config.json").write_text("{", encoding="utf-8")
    result = run_json("models", "list")
    assert [row["name"] for row in result["models"]] == ["default", "mine"]
    assert len(result["unusable"]) == 1
    assert "mine" in run("models", "list")
    assert run_json("models", "info", "mine")["config"]["context_length"] == 24


def test_paths_follow_the_one_override() -> None:
    result = run_json("paths")
    assert result["library"] == f"{os.environ['MLX_MIXER_HOME']}/data/library.sqlite3"
    assert set(result) == {"config", "data", "state", "library", "models", "log", "chat_history"}


def test_doctor_reports_what_it_runs_on() -> None:
    result = run_json("doctor")
    assert result["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "parameters" in result["default model"]
    assert result["mlx"] in run("doctor")
    assert result["mix_step float32"].startswith(("metal:", "plain:"))
    assert result["masked_matmul bfloat16"].startswith(("metal:", "plain:"))
