"""What is said about a source before anything is converted, with the golden cases as the truth."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert import convert_checkpoint, inspect_checkpoint
from convert.inspection import Inspection
from mlx_mixer.errors import ConversionError, MixerError, ModelNotFoundError, UsageError
from tests.convert.files import flat_state, renamed, write_safetensors, write_torch
from tests.convert.golden import CASES, CONVERTED, GOLDEN, OTHER_KINDS, REFUSED, checkpoint, needed_hints
from tests.tiny import tiny_model_folder

CONVERTIBLE = [*CONVERTED, *(name for name in CASES if "io" in CASES[name] and CASES[name]["family"] in OTHER_KINDS)]


def json_of(found: Inspection) -> Any:
    return json.loads(json.dumps(found.to_dict()))


@pytest.mark.parametrize("name", CONVERTIBLE)
def test_every_golden_case_is_recognised_and_its_open_questions_are_those_of_the_manifest(name: str) -> None:
    found = inspect_checkpoint(checkpoint(name))
    hints = needed_hints(name)
    assert found.family == CASES[name]["family"]
    asked = {question.hint: question for question in found.questions}
    for hint, value in hints.items():
        assert hint in asked
        allowed = asked[hint].allowed
        assert str(value).lower() in allowed or allowed == ("a number above 0",), (hint, allowed)
    needed = [question for question in found.questions if question.is_open]
    assert {question.hint for question in needed} == hints.keys() - {"decay_constant", "use_projections"}
    assert found.verdict == ("needs_hints" if needed else "convertible")
    assert found.exit_code == 0
    assert len(found.missing) == (found.family != "retrieval_mixer"), "the words; a re-ranker reads none"
    assert json_of(found)["config"]


# One of each family: conversion itself is tested elsewhere.
@pytest.mark.parametrize(
    "name", ["flat_sharded_bin", "flat_tied", "headed_h4", "autoencoder_unroll_k4", "double", "srm_combined_decay"]
)
def test_the_configuration_is_that_of_the_conversion(name: str, tmp_path: Path) -> None:
    hints = needed_hints(name)
    found = inspect_checkpoint(checkpoint(name), **hints)
    report = convert_checkpoint(checkpoint(name), tmp_path / "out", **hints)
    config = {key: value for key, value in report.config.to_dict().items() if key != "provenance"}
    assert json_of(found)["config"] == json.loads(json.dumps(config))
    assert found.parameters == report.parameters
    assert found.family == report.family


def test_told_hints_are_answers() -> None:
    open_questions = [question for question in inspect_checkpoint(checkpoint("srm_row")).questions if question.is_open]
    assert [(question.hint, question.allowed) for question in open_questions] == [("mixer", ("row", "col", "toeplitz"))]
    found = inspect_checkpoint(checkpoint("srm_row"), mixer="col")
    assert found.verdict == "convertible"
    assert found.config is not None
    assert found.config["token_mixing"] == "col"


def test_answers_that_do_not_fit_the_tensors_are_not_offered(tmp_path: Path) -> None:
    """Two rows of weights are of "combined" or "kernel_col"; one shape of the decay fits neither twice."""
    with_two = {
        name: np.repeat(array, 2, axis=0) if name.endswith("token_mixing_layer.weight") else array
        for name, array in loaded("srm_row").items()
    }
    (asked,) = (
        question
        for question in inspect_checkpoint(write_safetensors(tmp_path / "m.safetensors", with_two)).questions
        if question.is_open
    )
    assert asked.allowed == ("combined", "kernel_col")
    decayed = with_two | {
        f"mixer_blocks.{layer}.token_mixing_layer.decay_value": np.ones((2, 1), np.float32) for layer in range(2)
    }
    found = inspect_checkpoint(write_safetensors(tmp_path / "m.safetensors", decayed), mixer="combined")
    assert found.verdict == "convertible"


def loaded(name: str) -> dict[str, Any]:
    from convert.sources.containers import open_checkpoint

    with open_checkpoint(checkpoint(name)) as opened:
        return {key: opened.read(key) for key in opened.tensors}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_families_say_what_they_are_and_what_to_do(name: str) -> None:
    found = inspect_checkpoint(checkpoint(name))
    assert (found.verdict, found.exit_code, found.family) == ("refused", 4, CASES[name]["family"])
    assert found.what.startswith("a ")
    assert found.advice
    assert found.bytes == checkpoint(name).stat().st_size


def test_a_model_folder_of_ours_needs_no_conversion(tmp_path: Path) -> None:
    folder = tiny_model_folder(tmp_path / "mine")
    for source in (folder, folder / "model.safetensors"):
        found = inspect_checkpoint(source)
        assert (found.verdict, found.exit_code) == ("model_folder", 0)
        assert found.config is not None
        assert found.config["model_type"] == "language_mixer"
        assert found.tokenizer == folder / "tokenizer.json"
    (folder / "tokenizer.json").unlink()
    assert "--tokenizer" in inspect_checkpoint(folder).missing[0]
    (folder / "config.json").write_text('{"model_type": "language_mixer", "num_layers": 1e9}')
    found = inspect_checkpoint(folder)
    assert (found.verdict, found.exit_code) == ("unfit", 1)


def test_a_transformer_is_left_to_mlx_lm(tmp_path: Path) -> None:
    state = {
        "model.embed_tokens.weight": np.ones((4, 2), np.float32),
        "model.layers.0.self_attn.q_proj.weight": np.ones((2, 2), np.float16),
    }
    write_safetensors(tmp_path / "model.safetensors", state)
    assert inspect_checkpoint(tmp_path).verdict == "refused"
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    found = inspect_checkpoint(tmp_path)
    assert found.what == "a transformer (llama); converted by mlx-lm"
    assert (found.verdict, found.exit_code, found.parameters) == ("transformer", 0, 12)
    assert dict(found.dtypes) == {"F32": 8, "F16": 4}
    (tmp_path / "config.json").write_text('{"model_type": "of_no_kind"}')
    assert inspect_checkpoint(tmp_path).verdict == "refused"


def test_a_mixer_that_does_not_fit_together_says_what_is_missing(tmp_path: Path) -> None:
    state = flat_state()
    del state["mixerblocks.1.conv.bias"]
    found = inspect_checkpoint(write_safetensors(tmp_path / "m.safetensors", state))
    assert (found.verdict, found.exit_code) == ("unfit", 1)
    assert "lacks mixerblocks.1.conv.bias" in found.missing[0]


def test_softmax_runs_are_refused_until_the_user_says_otherwise(tmp_path: Path) -> None:
    run = tmp_path / "tinystories_softmax"
    run.mkdir()
    write_safetensors(run / "model.safetensors", flat_state())
    found = inspect_checkpoint(run)
    assert (found.verdict, found.exit_code) == ("refused", 4)
    assert "--mixer flat" in found.advice
    assert inspect_checkpoint(run, mixer="flat").verdict == "convertible"


def test_legacy_heads_may_have_been_softmax_models() -> None:
    found = inspect_checkpoint(checkpoint("headed_legacy_h2"))
    assert any("softmax" in warning for warning in found.warnings)


def test_shared_storages_are_tied_without_being_read(tmp_path: Path) -> None:
    state = flat_state()
    state["lm_head.weight"] = state["wte.weight"]
    found = inspect_checkpoint(write_torch(tmp_path / "pytorch_model.bin", state))
    assert found.config is not None
    assert found.config["tie_word_embeddings"] is True


def test_only_headers_are_read(tmp_path: Path) -> None:
    """A file of ten gigabytes, all of it hole, is told as fast as a small one; reading it would take seconds."""
    rows = 10_000_000_000 // (4 * 8)
    header = {"wte.weight": {"dtype": "F32", "shape": [rows, 8], "data_offsets": [0, rows * 32]}}
    raw = json.dumps(header).encode()
    with (tmp_path / "m.safetensors").open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + rows * 32)
    before = read_bytes()
    found = inspect_checkpoint(tmp_path)
    assert found.bytes > 10_000_000_000
    assert dict(found.dtypes) == {"F32": rows * 8}
    if before is not None:
        assert (read_bytes() or 0) - before < 1_000_000


def read_bytes() -> int | None:
    """What this process has read so far, on Linux."""
    if sys.platform != "linux":
        return None
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("rchar")))


def test_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tiny_model_folder(tmp_path / "mine")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for source in (folder, GOLDEN / "flat_run", GOLDEN / "flat_bin", checkpoint("memory_token")):
        inspect_checkpoint(source)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_what_cannot_be_told_raises(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        inspect_checkpoint(tmp_path / "nothing")
    with pytest.raises(UsageError, match="unknown hint"):
        inspect_checkpoint(checkpoint("flat"), mixr="flat")
    (tmp_path / "m.safetensors").write_bytes(b"\0" * 7)
    with pytest.raises(ConversionError, match="too short"):
        inspect_checkpoint(tmp_path)
    os.mkfifo(tmp_path / "pipe.bin")
    with pytest.raises(MixerError):
        inspect_checkpoint(tmp_path / "pipe.bin")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConversionError, match="holds no weights"):
        inspect_checkpoint(tmp_path / "empty")


def test_names_in_a_file_cannot_reach_the_terminal(tmp_path: Path) -> None:
    state = renamed(flat_state(), "wte.weight", "wte[red]weight")
    found = inspect_checkpoint(write_safetensors(tmp_path / "m.safetensors", state))
    assert found.verdict == "unfit"
    assert all(line.isprintable() for line in found.missing)
