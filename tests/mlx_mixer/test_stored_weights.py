"""The weight files of a model folder, as someone hostile may lay them out."""

import json
import os
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

import mlx_mixer.stored_weights
from mlx_mixer.errors import CheckpointError, MixerError
from mlx_mixer.safetensors_header import check_safetensors
from mlx_mixer.stored_weights import read_weights

INDEX = "model.safetensors.index.json"


def test_a_file_that_is_replaced_between_its_check_and_its_load_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLX opens by name what was checked by name; in between the name may come to mean another file."""
    mx.save_safetensors(str(tmp_path / "model.safetensors"), {"a": mx.ones(3)})
    check = mlx_mixer.stored_weights.check_safetensors

    def checked_then_replaced(path: Path) -> Any:
        header = check(path)
        mx.save_safetensors(str(tmp_path / "other.safetensors"), {"a": mx.zeros(3)})
        (tmp_path / "other.safetensors").rename(path)
        return header

    monkeypatch.setattr(mlx_mixer.stored_weights, "check_safetensors", checked_then_replaced)
    with pytest.raises(CheckpointError, match="changed while it was read"):
        read_weights(tmp_path)


@pytest.mark.parametrize("size", [2**31, 2**32 + 5, 2**63 - 1])
def test_sizes_that_mlx_would_cut_are_refused(size: int, tmp_path: Path) -> None:
    """An empty tensor may be of any width in the format; MLX keeps the lower 32 bits of it."""
    header = {"a": {"dtype": "F32", "shape": [0, size], "data_offsets": [0, 0]}}
    raw = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(len(raw).to_bytes(8, "little") + raw)
    check_safetensors(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="impossible shape"):
        read_weights(tmp_path)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"weight_map": {}}',
        b'{"weight_map": {"a": "a.safetensors", "a": "b.safetensors"}}',
        b'{"a":' * 100_000,
        json.dumps({"weight_map": {"a": "../a.safetensors"}}).encode(),
        json.dumps({"weight_map": {"a": "..\\a.safetensors"}}).encode(),
        json.dumps({"weight_map": {"a": "a\nb.safetensors"}}).encode(),
        json.dumps({"weight_map": {"a": ["a.safetensors"]}}).encode(),
        json.dumps({"weight_map": {"a": "gone.safetensors"}}).encode(),
        json.dumps({"weight_map": {"a": "x" * 5000}}).encode(),
        b" " * (17 << 20),
    ],
    ids=range(13),
)
def test_an_index_is_refused_in_one_line(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / INDEX).write_bytes(raw)
    with pytest.raises(MixerError) as caught:
        read_weights(tmp_path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_nothing_waits_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.safetensors")
    (tmp_path / INDEX).write_text('{"weight_map": {"a": "a.safetensors"}}')
    with pytest.raises(MixerError, match="not a regular file"):
        read_weights(tmp_path)
