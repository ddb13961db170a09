"""Wherever the tensors are, the converter sees the same names and numbers."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.sources.containers import open_checkpoint, plain_names
from mlx_mixer.errors import ConversionError, MixerError, ModelNotFoundError, UnsupportedModelError
from tests.convert.files import (
    entry,
    flat_state,
    pickled,
    safetensors_bytes,
    torch_bytes,
    write_safetensors,
    write_torch,
)
from tests.convert.golden import GOLDEN

STATE = flat_state()


def read(source: Path) -> dict[str, Any]:
    with open_checkpoint(source) as checkpoint:
        return {name: checkpoint.read(name) for name in checkpoint.tensors}


def assert_is_state(got: Mapping[str, Any], want: Mapping[str, Any] = STATE) -> None:
    assert got.keys() == want.keys()
    for name in want:
        np.testing.assert_array_equal(got[name], want[name])


def refusal(source: Path, error: type[MixerError] = ConversionError) -> str:
    with pytest.raises(error) as caught:
        open_checkpoint(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write_index(folder: Path, weight_map: Any, name: str = "model.safetensors.index.json") -> Path:
    (folder / name).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}), encoding="utf-8")
    return folder / name


def write_shards(folder: Path, suffix: str) -> dict[str, str]:
    names = sorted(STATE)
    write = write_safetensors if suffix == "safetensors" else write_torch
    listed = {}
    for part in range(3):
        shard = f"part-{part}.{suffix}"
        write(folder / shard, {name: STATE[name] for name in names[part::3]})
        listed |= dict.fromkeys(names[part::3], shard)
    return listed


@pytest.mark.parametrize("name", ["weights.safetensors", "weights", "model.bin", "model.pt", "model.pth"])
def test_a_file_is_read_by_its_content(name: str, tmp_path: Path) -> None:
    write = write_torch if name.startswith("model") else write_safetensors
    assert_is_state(read(write(tmp_path / name, STATE)))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "anything.safetensors", "anything.pt"])
def test_a_folder_is_read_by_the_names_in_it(name: str, tmp_path: Path) -> None:
    write = write_safetensors if name.endswith("safetensors") else write_torch
    write(tmp_path / name, STATE)
    for other in ("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state_0.pth", "training_args.bin"):
        (tmp_path / other).write_bytes(b"not to be opened")
    assert_is_state(read(tmp_path))


@pytest.mark.parametrize(
    ("suffix", "index"),
    [("safetensors", "model.safetensors.index.json"), ("bin", "pytorch_model.bin.index.json")],
)
def test_shards_are_read_through_their_index(suffix: str, index: str, tmp_path: Path) -> None:
    file = write_index(tmp_path, write_shards(tmp_path, suffix), index)
    assert_is_state(read(tmp_path))
    assert_is_state(read(file))


def test_the_latest_step_of_a_run_counts_as_a_number(tmp_path: Path) -> None:
    for step in (900, 2000, 10000):
        (tmp_path / f"checkpoint-{step}").mkdir()
        write_safetensors(tmp_path / f"checkpoint-{step}" / "model.safetensors", {"a": np.full(1, step, np.float32)})
    (tmp_path / "checkpoint-last").mkdir()
    assert read(tmp_path)["a"] == 10000


def test_a_step_without_weights_is_passed_over_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "chkpt-5").mkdir()
    write_torch(tmp_path / "chkpt-5" / "pytorch_model.bin", STATE)
    (tmp_path / "checkpoint-10").mkdir()
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.notes == ("checkpoint-10 holds no weights; chkpt-5 was used",)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "module.model."]
)
def test_wrapper_prefixes_are_removed(prefix: str, tmp_path: Path) -> None:
    write_safetensors(tmp_path / "m.safetensors", {prefix + name: array for name, array in STATE.items()})
    assert_is_state(read(tmp_path))


@given(
    names=st.lists(st.sampled_from(["wte", "lm_head", "mixerblocks.0.conv", "model_x"]), unique=True, min_size=1),
    wrappers=st.lists(st.sampled_from(["module.", "_orig_mod.", "model."]), max_size=4),
)
def test_any_pile_of_wrappers_comes_off(names: list[str], wrappers: list[str]) -> None:
    stored = ["".join(wrappers) + name for name in names]
    assert plain_names(stored) == dict(zip(names, stored, strict=True))


def test_model_is_a_prefix_only_where_every_name_has_it() -> None:
    names = ["model.wte.weight", "lm_head.weight"]
    assert plain_names(names) == dict(zip(names, names, strict=True))


def test_names_that_become_equal_are_refused() -> None:
    with pytest.raises(ConversionError, match="same name"):
        plain_names(["module.a", "a"])


@pytest.mark.parametrize(
    "shard", ["../m.safetensors", "/etc/passwd", "sub/m.safetensors", "..\\m.bin", "m.txt", 7, ".."]
)
def test_an_index_names_only_weight_files_beside_it(shard: Any, tmp_path: Path) -> None:
    assert "weight file beside it" in refusal(write_index(tmp_path, {"a": shard}))


def test_an_index_and_its_shards_must_agree(tmp_path: Path) -> None:
    listed = write_shards(tmp_path, "safetensors")
    refusal(write_index(tmp_path, {**listed, "more": "part-0.safetensors"}))
    refusal(write_index(tmp_path, dict.fromkeys(listed, "part-0.safetensors")))
    refusal(write_index(tmp_path, {name: shard for name, shard in listed.items() if name != "wte.weight"}))
    write_safetensors(tmp_path / "part-1.safetensors", STATE)
    assert "part-0" in refusal(write_index(tmp_path, listed))
    (tmp_path / "part-2.safetensors").unlink()
    assert "part-2.safetensors, which is missing" in refusal(write_index(tmp_path, listed))


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"weight_map": {}}', b'{"weight_map": []}', b"\xff", b'{"a":1,"a":1}']
)
def test_a_damaged_index_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_bytes(content)
    assert "model.safetensors.index.json" in refusal(tmp_path)


LOOKALIKES: dict[str, tuple[bytes, str]] = {
    "optimizer.pt": (torch_bytes({"state": {}, "param_groups": []}, {}), "optimizer"),
    "scheduler.pt": (b"", "learning-rate"),
    "scaler.pt": (b"", "gradient scaler"),
    "rng_state.pth": (b"", "random number"),
    "rng_state_3.pth": (b"", "random number"),
    "training_args.bin": (b"", "settings of a training run"),
    "trainer_state.json": (b"{}", "log of a training run"),
    "tokenizer.json": (b"{}", "tokenizer"),
    "config.json": (b"{}", "configuration"),
    "renamed_optimizer_state.bin": (torch_bytes({"state": {}, "param_groups": []}, {}), "optimizer"),
    "weights.gguf": (b"GGUF\3\0\0\0" + bytes(64), "GGUF"),
    "weights.npz": (b"PK\3\4" + bytes(64), "NumPy"),
    "weights.npy": (b"\x93NUMPY\1\0" + bytes(64), "NumPy"),
    "weights.h5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
    "tar.pt": (bytes(257) + b"ustar" + bytes(300), "oldest torch format"),
    "old.pt": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + bytes(64), "before version 1.6"),
    "pointer.safetensors": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "page.safetensors": (b"<!DOCTYPE html><html></html>", "web page"),
    "notes.txt": (b"hello", "neither"),
    "empty.bin": (b"", "neither"),
    "empty.safetensors": (b"", "too short"),
}


@pytest.mark.parametrize("name", LOOKALIKES)
def test_lookalikes_are_named_for_what_they_are(name: str, tmp_path: Path) -> None:
    content, what = LOOKALIKES[name]
    (tmp_path / name).write_bytes(content)
    assert what in refusal(tmp_path / name)


def test_folders_that_need_their_own_tools_are_refused(tmp_path: Path) -> None:
    (tmp_path / "fsdp" / "pytorch_model_fsdp_0").mkdir(parents=True)
    assert "accelerate merge-weights" in refusal(tmp_path / "fsdp", UnsupportedModelError)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "__0_0.distcp").touch()
    assert "accelerate merge-weights" in refusal(tmp_path / "inner", UnsupportedModelError)
    (tmp_path / "zero" / "global_step100").mkdir(parents=True)
    assert "zero_to_fp32" in refusal(tmp_path / "zero", UnsupportedModelError)


def test_what_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    refusal(tmp_path / "nothing", ModelNotFoundError)
    assert "cannot be read" in refusal(tmp_path / ("a" * 300))
    assert "hf download owner/name" in refusal(Path("owner/name"), ModelNotFoundError)
    assert "holds no weights" in refusal(tmp_path)
    (tmp_path / "checkpoint-1").mkdir()
    assert "checkpoint-1 holds no weights" in refusal(tmp_path)


def test_a_folder_with_several_weight_files_asks_for_one(tmp_path: Path) -> None:
    for name in ("a.safetensors", "b.safetensors"):
        write_safetensors(tmp_path / name, STATE)
    assert "name the one to convert" in refusal(tmp_path)


def test_shards_without_their_index_ask_for_it(tmp_path: Path) -> None:
    for part in (1, 2):
        write_safetensors(tmp_path / f"model-0000{part}-of-00002.safetensors", STATE)
    assert "not the .index.json that lists them" in refusal(tmp_path)


def test_a_refused_shard_leaves_no_file_open(tmp_path: Path) -> None:
    """Warnings are errors here, so an unclosed file would fail this test when it is collected."""
    listed = write_shards(tmp_path, "safetensors")
    (tmp_path / "part-2.safetensors").write_bytes(safetensors_bytes({"a": entry("F32", [1], 0, 8)}, bytes(8)))
    refusal(write_index(tmp_path, listed))
    refusal(write_torch(tmp_path / "x.bin", {}))
    (tmp_path / "y.bin").write_bytes(torch_bytes(pickled([]), {}))
    refusal(tmp_path / "y.bin")


def test_the_golden_containers_hold_the_same_tensors(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "flat_trainer", tmp_path / "run")
    want = read(GOLDEN / "flat.safetensors")
    for source in ("flat_bin", "flat_sharded", "flat_sharded_bin", "flat_run", "flat_both.safetensors"):
        assert_is_state(read(GOLDEN / source), want)
    assert_is_state(read(tmp_path / "run"), want)
