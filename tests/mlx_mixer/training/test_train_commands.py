"""The commands, one after the other, as the recipe of the default model calls them."""

import json
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import pytest
from click.testing import CliRunner

from mlx_mixer.cli.train import train
from mlx_mixer.documents.library import Library
from mlx_mixer.errors import MixerError, ModelNotFoundError, UsageError
from tests.mlx_mixer.training.runs import write_data

SIZES = ["--hidden-size", "16", "--layers", "1", "--context-length", "24", "--intermediate-size", "16"]


@pytest.fixture(autouse=True)
def _uncompiled() -> Iterator[None]:
    mx.disable_compile()
    yield
    mx.enable_compile()


def succeed(*arguments: str | Path) -> tuple[dict[str, object], str]:
    result = CliRunner().invoke(train, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), result.stderr


def test_the_commands_lead_from_texts_to_figures(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    pairs = data / "pairs.jsonl"
    made, _ = succeed("tokenizer", pairs, "--out", tmp_path / "tok", "--vocab-size", "320", "--json")
    assert made["texts"] == 120
    assert (tmp_path / "tok" / "tokenizer.json").is_file()

    loop = ["--steps", "4", "--warmup-steps", "1", "--json"]
    language, told = succeed(
        "language", pairs, "--tokenizer", tmp_path / "tok", "--out", tmp_path / "lm", *SIZES, *loop
    )
    assert language["steps"] == 4
    assert "step 4/4  loss " in told
    assert " tokens/s " in told

    found, _ = succeed(
        *("retrieval", pairs, "--init", tmp_path / "lm", "--valid", pairs, "--out", tmp_path / "found"),
        *("--batch-size", "16", "--half", *loop),
    )
    assert isinstance(found["best_score"], float)

    taught, _ = succeed("teacher", pairs, "--model", tmp_path / "found", "-o", tmp_path / "t.safetensors", "--json")
    assert (taught["passages"], taught["queries"], taught["dims"]) == (120, 120, 16)
    student, _ = succeed(
        *("retrieval", pairs, "--init", tmp_path / "lm", "--out", tmp_path / "student", "--batch-size", "16"),
        *("--teacher", tmp_path / "t.safetensors", "--teacher-weight", "0.7", "--matryoshka", "4,8"),
        *("--loss", "one-positive", "--hard-negatives", "2", "--mine", "both", "--mine-among", "50", *loop),
    )
    assert student["steps"] == 4

    healed, _ = succeed(
        *("language", pairs, "--init", tmp_path / "found", "--keep-embeddings", "--out", tmp_path / "healed", *loop)
    )
    assert healed["out"] == str(tmp_path / "healed")

    figures, _ = succeed("evaluate", tmp_path / "healed", pairs, "--queries", "50", "--json")
    report = figures["pairs.jsonl"]
    assert isinstance(report, dict)
    assert report["perplexity"] > 1
    assert [row["candidates"] for row in report["top1"]] == [32]
    assert report["top1"][0]["queries"] >= 50

    succeed("teacher", pairs, "--model", tmp_path / "healed", "-o", tmp_path / "same.safetensors", "--json")
    beside = ("--beside", f"same={tmp_path / 'same.safetensors'}", "--queries", "50", "--no-writing")
    figures, _ = succeed("evaluate", tmp_path / "healed", pairs, *beside, "--json")
    (row,) = figures["pairs.jsonl"]["top1"]
    assert row["mixer"] == row["same"] > 0
    assert "perplexity" not in figures["pairs.jsonl"]
    assert {(found["first"], found["second"]) for found in row["differences"]} >= {
        ("mixer", "same"),
        ("mixer+bm25", "bm25"),
    }
    printed = CliRunner().invoke(train, ["evaluate", str(tmp_path / "healed"), str(pairs), *beside])
    assert "against BM25" in printed.stdout
    assert "same with BM25" in printed.stdout
    for wrong in ("same", "=file", "bm25=file"):
        refused = CliRunner().invoke(train, ["evaluate", str(tmp_path / "healed"), str(pairs), "--beside", wrong])
        assert isinstance(refused.exception, UsageError)


def test_texts_come_from_a_pipe_and_from_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLX_MIXER_HOME", str(tmp_path / "home"))
    data = write_data(tmp_path / "data")
    nowhere = CliRunner().invoke(train, ["tokenizer", "--docs", "-o", str(tmp_path / "none")])
    assert nowhere.exit_code == 2
    assert "your library is empty" in nowhere.output
    assert CliRunner().invoke(train, ["tokenizer", "-o", str(tmp_path / "none")]).exit_code == 2

    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.md").write_text("# Bread\n\n" + "Every package helps with a file. " * 40)
    with Library() as library:
        library.add([notes])
    piped = (data / "pairs.jsonl").read_text()
    arguments = ["tokenizer", "-", "--docs", "-o", str(tmp_path / "tok"), "--vocab-size", "320", "--json"]
    result = CliRunner().invoke(train, arguments, input=piped, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["texts"] > 120

    trained, _ = succeed(
        *("language", "--docs", data / "pairs.jsonl", "--tokenizer", tmp_path / "tok", "--out", tmp_path / "lm"),
        *(*SIZES, "--pack", "--steps", "2", "--warmup-steps", "1", "--json"),
    )
    assert trained["steps"] == 2


def test_a_model_is_named_as_everywhere(tmp_path: Path) -> None:
    pairs = write_data(tmp_path / "data") / "pairs.jsonl"
    figures, _ = succeed("evaluate", "default", pairs, "--queries", "50", "--no-writing", "--json")
    assert figures["pairs.jsonl"]["top1"][0]["mixer"] > 0
    loop = ("--steps", "1", "--warmup-steps", "0", "--json")
    for kind in ("retrieval", "language"):
        trained, _ = succeed(kind, pairs, "--init", "default", "--out", tmp_path / kind, *loop)
        assert trained["steps"] == 1
    taught, _ = succeed("teacher", pairs, "--model", "default", "-o", tmp_path / "t.safetensors", "--json")
    assert taught["passages"] == 120
    unknown = CliRunner().invoke(train, ["evaluate", "no-such-model", str(pairs)])
    assert isinstance(unknown.exception, ModelNotFoundError)
    assert "see: mlx-mixer models list" in str(unknown.exception)


def test_sizes_that_are_none_are_a_wrong_use() -> None:
    arguments = ["retrieval", "x.jsonl", "--init", "default", "-o", "b", "--matryoshka", "64;128"]
    result = CliRunner().invoke(train, arguments)
    assert result.exit_code == 2
    assert "'64;128' is no list of sizes" in result.output


def test_a_full_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").write_text("mine")
    (tmp_path / "a.txt").write_text("some text " * 50)
    result = CliRunner().invoke(train, ["tokenizer", str(tmp_path / "a.txt"), "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, MixerError)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["kept"]
