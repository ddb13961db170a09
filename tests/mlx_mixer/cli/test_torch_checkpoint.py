"""The way back to PyTorch, as a command."""

import json
import subprocess
import sys
from pathlib import Path

from safetensors.numpy import load_file

from convert import convert_checkpoint
from tests.convert.golden import checkpoint


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlx_mixer", "convert", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_model_folder_becomes_a_checkpoint_under_upstream_names(tmp_path: Path) -> None:
    convert_checkpoint(checkpoint("srm_row"), tmp_path / "ours", mixer="row")
    done = run(tmp_path / "ours", "--to-torch", "--out", tmp_path / "theirs", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report == {
        "family": "srm",
        "out": str(tmp_path / "theirs"),
        "tensors": len(load_file(checkpoint("srm_row"))),
        "hints": {"mixer": "row"},
        "warnings": [],
    }
    written, source = load_file(tmp_path / "theirs" / "model.safetensors"), load_file(checkpoint("srm_row"))
    assert {name: array.tobytes() for name, array in written.items()} == {
        name: array.tobytes() for name, array in source.items()
    }


def test_what_is_no_model_folder_cannot_go_back(tmp_path: Path) -> None:
    done = run(checkpoint("flat"), "--to-torch", "--out", tmp_path / "theirs")
    assert done.returncode == 3
    assert "no model at" in done.stderr
    assert not (tmp_path / "theirs").exists()


def test_the_folder_to_make_must_be_named(tmp_path: Path) -> None:
    convert_checkpoint(checkpoint("flat"), tmp_path / "ours")
    done = run(tmp_path / "ours", "--to-torch")
    assert done.returncode == 2
    assert "--out DIR" in done.stderr


def test_going_back_asks_nothing(tmp_path: Path) -> None:
    convert_checkpoint(checkpoint("flat"), tmp_path / "ours")
    done = run(tmp_path / "ours", "--to-torch", "--out", tmp_path / "theirs", "--mixer", "flat")
    assert done.returncode == 2
    assert "--to-torch takes a model folder, --out and --json alone" in done.stderr
