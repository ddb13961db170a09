"""Damaged shard indexes: whatever they name, only weight files beside them are read, and no tensor is lost."""

import json
import os
import random
from pathlib import Path
from typing import Any

from convert.sources.containers import open_checkpoint
from tests.convert.files import flat_state, write_safetensors
from tests.fuzz import campaign
from tests.fuzz.mutate import TEXTS, mutated_json, pick

STATE = flat_state(layers=1)
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
# What stands beside the shards, or is linked there, and must not be taken for one of them.
TRAPS = (
    "pipe.safetensors",
    "folder.safetensors",
    "loop.safetensors",
    "dangling.safetensors",
    "zero.bin",
    "secret.pt",
    "inner/x.safetensors",
    "other.safetensors",
    "optimizer.pt",
    "\udcff.safetensors",
    "a\nb.safetensors",
    "c" * 300 + ".safetensors",
    "model.safetensors.index.json",
)


def index() -> dict[str, Any]:
    names = sorted(STATE)
    return {"metadata": {"total_size": 1}, "weight_map": {name: SHARDS[place % 2] for place, name in enumerate(names)}}


def make(generator: random.Random) -> bytes:
    def damaged() -> dict[str, Any]:
        value = index()
        if generator.random() < 0.4:
            value["weight_map"][pick(generator, sorted(STATE))] = pick(generator, (*TRAPS, *TEXTS))
        return value

    return json.dumps(damaged()).encode() if generator.random() < 0.2 else mutated_json(generator, damaged)


def build(folder: Path) -> Path:
    folder.mkdir()
    names = sorted(STATE)
    for place, shard in enumerate(SHARDS):
        write_safetensors(folder / shard, {name: STATE[name] for name in names[place::2]})
    os.mkfifo(folder / "pipe.safetensors")
    (folder / "folder.safetensors").mkdir()
    (folder / "loop.safetensors").symlink_to("loop.safetensors")
    (folder / "dangling.safetensors").symlink_to("nowhere")
    (folder / "zero.bin").symlink_to("/dev/zero")
    (folder / "secret.pt").symlink_to("/etc/passwd")
    (folder / "optimizer.pt").write_bytes(b"")
    write_safetensors(folder / "other.safetensors", {"other": STATE["wte.weight"]})
    (folder / "inner").mkdir()
    write_safetensors(folder / "inner" / "x.safetensors", STATE)
    return folder / "model.safetensors.index.json"


def test_indexes(tmp_path: Path) -> None:
    path = build(tmp_path / "in")

    def read(_raw: bytes) -> bool:
        with open_checkpoint(path) as checkpoint:
            for file in checkpoint.files:
                assert file.path.parent == path.parent
                assert file.path.name in SHARDS, "a trap was taken for a shard"
            assert checkpoint.tensors.keys() == STATE.keys()
            for name in checkpoint.tensors:
                assert checkpoint.read(name).shape == STATE[name].shape
        return True

    path.write_text(json.dumps(index()), encoding="utf-8")
    assert read(b"")
    tally = campaign.run("shard index", make, read, tmp_path, place=path.write_bytes)
    assert tally.accepted > tally.inputs // 50
    assert tally.refused > tally.inputs // 4
