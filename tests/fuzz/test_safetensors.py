"""Damaged safetensors headers: nothing that the reference refuses is accepted, and what is accepted can be read."""

import random
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from safetensors import SafetensorError, deserialize

from convert.sources.safetensors_file import SafetensorsFile
from convert.sources.weight_file import FLOAT_BYTES
from mlx_mixer.stored_weights import read_weights
from tests.convert.files import entry, safetensors_bytes
from tests.fuzz import campaign
from tests.fuzz.mutate import damage_bytes, damage_value, dump, pick

DATA = bytes(range(256)) * 2
MLX_TYPES = {"F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"}


def table() -> dict[str, Any]:
    return {
        "__metadata__": {"format": "pt", "lm_head.weight": "wte.weight"},
        "wte.weight": entry("F32", [4, 4], 0, 64),
        "mixerblocks.0.conv.weight": entry("F16", [4, 4, 1], 64, 96),
        "mixerblocks.0.conv.bias": entry("BF16", [4], 96, 104),
        "empty": entry("F32", [0, 9], 104, 104),
        "count": entry("I64", [], 104, 112),
        "mask": entry("BOOL", [2, 8], 112, 128),
        "rest": entry("I32", [96], 128, 512),
    }


def make(generator: random.Random) -> bytes:
    value: Any = table()
    for _ in range(generator.choice((0, 1, 1, 1, 2))):
        value = damage_value(generator, value)
    header = dump(generator, value)
    if generator.random() < 0.2:
        header = damage_bytes(generator, header)
    if generator.random() < 0.1:
        header += b" " * generator.randrange(9)
    data = DATA if generator.random() < 0.8 else DATA[: generator.randrange(512)] + bytes(generator.randrange(600))
    raw = safetensors_bytes(header, data)
    return damage_bytes(generator, raw, 0, pick(generator, (8, len(raw)))) if generator.random() < 0.2 else raw


def test_headers(tmp_path: Path) -> None:
    path = tmp_path / "in" / "model.safetensors"
    path.parent.mkdir()

    compared = 0

    def read(raw: bytes) -> bool:
        file = SafetensorsFile(path)
        try:
            for name, info in file.tensors.items():
                if info.dtype in FLOAT_BYTES:
                    assert file.read(name).shape == info.shape
        finally:
            file.close()
        assert reference_accepts(raw), "the reference refuses what was accepted"
        if all(info.dtype in MLX_TYPES for info in file.tensors.values()):
            check_with_mlx(path, file)
            nonlocal compared
            compared += 1
        return True

    path.write_bytes(safetensors_bytes({"a": entry("F32", [1], 0, 4)}, bytes(4)))
    assert read(path.read_bytes())
    tally = campaign.run("safetensors", make, read, tmp_path, place=path.write_bytes)
    assert tally.accepted > tally.inputs // 50, "too few are accepted to test what follows"
    assert tally.refused > tally.inputs // 4
    assert compared > tally.accepted // 2, "MLX saw too few of what was accepted"


def reference_accepts(raw: bytes) -> bool:
    try:
        deserialize(raw)
    except SafetensorError:
        return False
    return True


def check_with_mlx(path: Path, file: SafetensorsFile) -> None:
    """What the library loads after the check: same names and shapes, and no read beyond the file."""
    loaded = read_weights(path.parent)
    assert {name: tuple(array.shape) for name, array in loaded.items()} == {
        name: info.shape for name, info in file.tensors.items()
    }
    for array in loaded.values():
        np.array(array.astype(mx.float32) if array.dtype == mx.bfloat16 else array)
