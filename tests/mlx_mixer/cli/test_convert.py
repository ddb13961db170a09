"""The convert command: what it prints, and how it ends."""

import json
import os
import subprocess
from pathlib import Path

import mlx.core as mx
import pytest
from click.testing import CliRunner

from mlx_mixer.checkpoint import load_model
from mlx_mixer.cli.convert import convert
from tests.commands import run_all, run_here
from tests.convert.files import (
    Call,
    Name,
    entry,
    flat_state,
    safetensors_bytes,
    torch_bytes,
    write_safetensors,
)
from tests.convert.golden import CASES, assert_close, checkpoint, expected, needed_hints, of_family

WORD = bytes(4)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run_here("convert", *arguments)


def test_json_describes_the_conversion(tmp_path: Path) -> None:
    done = run(
        checkpoint("infonce_left"), "--out", tmp_path / "out", "--json",
        "--padding-side", "left", "--embedding-position", "-2", "--pad-token-id", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["family"] == "flat"
    assert report["out"] == str(tmp_path / "out")
    assert report["config"] == json.loads((tmp_path / "out" / "config.json").read_text())
    assert report["config"]["padding_side"] == "left"
    assert report["config"]["embedding_position"] == -2
    assert done.stderr == ""


def test_what_a_file_does_not_hold_is_told_by_an_option(tmp_path: Path) -> None:
    done = run(checkpoint("autoencoder_unroll_k4"), "--out", tmp_path / "out", "--json", "--decoder-input", "unroll")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["family"] == "autoencoder"
    assert report["config"]["model_type"] == "autoencoding_mixer"
    assert report["config"]["decoder_input"] == "unroll"


def test_people_get_a_line_and_notes(tmp_path: Path) -> None:
    done = run(checkpoint("kernel4"), "-o", tmp_path / "out")
    assert done.returncode == 0
    assert done.stdout.startswith(f"{tmp_path / 'out'}  kernel, ")
    assert all(line.startswith("note: ") for line in done.stderr.splitlines())
    assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.parametrize("name", of_family("srm", "near_linear", "linear"))
def test_options_tell_what_structured_checkpoints_do_not_hold(name: str, tmp_path: Path) -> None:
    options = []
    for hint, value in needed_hints(name).items():
        option = hint.replace("_", "-")
        options += [f"--{option}" if value else f"--no-{option}"] if isinstance(value, bool) else [f"--{option}", value]
    arguments = [checkpoint(name), "--out", tmp_path / "out", "--json", *options]
    # In this process: the interpreter's start would be most of the time.
    done = CliRunner().invoke(convert, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["family"] == CASES[name]["family"]
    io = expected(name)
    assert_close(name, load_model(tmp_path / "out")(mx.array(io["input_ids"])), io["logits"])


def make_bad_files(folder: Path) -> dict[str, int]:
    """Wrong sources by file name, and the exit code each must end with."""
    whole = write_safetensors(folder / "whole.safetensors", flat_state()).read_bytes()
    good = entry("F32", [1], 0, 4)
    files = {
        "truncated.safetensors": whole[:-7],
        "no-header.safetensors": whole[:5],
        "oversized.safetensors": (1 << 40).to_bytes(8, "little") + whole[8:],
        "overlap.safetensors": safetensors_bytes({"a": good, "b": good}, WORD),
        "negative.safetensors": safetensors_bytes({"a": entry("F32", [-1, -1], 0, 4)}, WORD),
        "wrapped.safetensors": safetensors_bytes({"a": entry("F32", [65536, 65536, 65536, 16384, 4], 0, 0)}),
        "trailing.safetensors": whole + b"PK",
        "optimizer.pt": torch_bytes({"state": {}, "param_groups": []}, {}),
        "training_args.bin": torch_bytes({"a": Call(Name("transformers", "TrainingArguments"), ())}, {}),
        "payload.bin": torch_bytes({"a": Call(Name("os", "system"), (f"touch {folder / 'marker'}",))}, {}),
        "weights.gguf": b"GGUF" + bytes(100),
        "escape.safetensors": safetensors_bytes({"\x1b]0;owned\x07": good}, WORD),
        "empty.safetensors": b"",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    os.mkfifo(folder / "pipe.safetensors")
    unknown = write_safetensors(folder / "unknown.safetensors", {"encoder.weight": flat_state()["wte.weight"]})
    del (extra := flat_state())["mixerblocks.0.conv.bias"]
    lacking = write_safetensors(folder / "lacking.safetensors", extra)
    return {
        **dict.fromkeys(files, 1),
        "pipe.safetensors": 1,
        lacking.name: 1,
        unknown.name: 4,
        str(checkpoint("autoencoder_unroll_k4")): 1,
        str(checkpoint("memory_proj")): 4,
        str(checkpoint("memory_token")): 4,
        # Its keys do not tell the token mixing, and no hint does.
        str(checkpoint("srm_row")): 2,
        "nothing.safetensors": 3,
        "owner/name": 3,
    }


def test_whatever_is_wrong_ends_in_one_line_and_the_documented_code(tmp_path: Path) -> None:
    """In a child, in which a crash of the interpreter shows."""
    codes = make_bad_files(tmp_path)
    sources = [name if name == "owner/name" else tmp_path / name for name in codes]
    results = run_all([["convert", source, "--out", tmp_path / "out"] for source in sources])
    for (name, code), done in zip(codes.items(), results, strict=True):
        assert done.returncode == code, (name, done.stderr)
        assert done.stdout == ""
        assert done.stderr.startswith("mlx-mixer: ")
        assert done.stderr.count("\n") == 1, done.stderr
        assert "\x1b" not in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "marker").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mixer", "attention", "--out", "out"], "hint mixer"),
        (["--padding-side", "middle", "--out", "out"], "middle"),
        (["--decay-constant", "-1", "--out", "out"], "above 0"),
        ([], "--out"),
    ],
)
def test_wrong_use_ends_with_two(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = run(checkpoint("flat"), *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert not Path("out").exists()


def test_inspecting_prints_and_writes_nothing(tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = run(checkpoint("srm_row"), "--inspect")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.split() == ["parameters", "21,120"] for line in lines)
    assert any(line.startswith("hint        --mixer row | col | toeplitz (needed;") for line in lines)
    assert done.stderr == "note: the configuration is that of mixer=row\n"
    described = run(checkpoint("srm_row"), "--inspect", "--json", "--mixer", "col")
    found = json.loads(described.stdout)
    assert (found["family"], found["verdict"], found["config"]["token_mixing"]) == ("srm", "convertible", "col")
    assert described.stderr == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_inspecting_what_is_refused_ends_with_four(tmp_path: Path) -> None:
    (tmp_path / "optimizer.pt").write_bytes(torch_bytes({"state": {}, "param_groups": []}, {}))
    done = run(tmp_path / "optimizer.pt", "--inspect")
    assert done.returncode == 4
    assert "the state of an optimizer" in done.stdout
    assert "give the checkpoint folder" in done.stdout
    refused = run(checkpoint("memory_token"), "--inspect", "--json")
    assert refused.returncode == 4
    assert json.loads(refused.stdout)["family"] == "memory"
    assert run(tmp_path / "nothing", "--inspect").returncode == 3


def test_sizes_and_proof_are_reported(tmp_path: Path) -> None:
    done = run(checkpoint("kernel4"), "--out", tmp_path / "out", "--quantize", "8", "--dtype", "bfloat16", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["config"]["quantization"] == {"bits": 8, "group_size": 32, "mode": "affine"}
    assert report["source_bytes"] == checkpoint("kernel4").stat().st_size
    assert report["bytes"] == (tmp_path / "out" / "model.safetensors").stat().st_size < report["source_bytes"]
    proof = report["verification"]
    assert 0 < proof["max_error"] < proof["tolerance"]
    assert proof["perplexity_source"] != proof["perplexity_converted"]
    again = run(tmp_path / "out", "--out", tmp_path / "plain", "--dtype", "float32")
    assert again.returncode == 0, again.stderr
    first, second = again.stdout.splitlines()
    assert first.startswith(f"{tmp_path / 'plain'}  mlx-mixer, 23,136 parameters, ")
    assert " kB -> " in first
    assert second.startswith("agrees with its source: difference 0.0e+00, ")
    assert "perplexity" in second


def test_verification_can_be_left_out(tmp_path: Path) -> None:
    done = run(checkpoint("kernel4"), "--out", tmp_path / "out", "--no-verify", "--json")
    assert json.loads(done.stdout)["verification"] is None
