"""One pass over a file: all of its numbers, and the digest of all of its bytes."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.sources import file_stream, weight_file
from convert.sources.containers import open_checkpoint
from convert.sources.file_stream import FileStream
from convert.sources.safetensors_file import SafetensorsFile
from convert.sources.torch_file import TorchFile
from mlx_mixer.errors import ConversionError
from tests.convert.files import torch_bytes, view, write_safetensors, write_torch

STATE = {
    "wide": np.arange(600, dtype=np.float32).reshape(4, 150),
    "half": np.arange(77, dtype=np.float16),
    "double": np.arange(9, dtype=np.float64),
    "unused": np.arange(40, dtype=np.int64),
    "scalar": np.array(3, np.float32),
}


def collect(stream: FileStream) -> dict[str, Any]:
    """Numbers by name, put together where the pieces say."""
    types = {"F32": np.float32, "F16": np.float16, "F64": np.float64}
    found: dict[str, list[Any]] = {}
    for piece in stream:
        numbers = np.frombuffer(bytes(piece.data), types[piece.dtype])
        found.setdefault(piece.name, [])
        assert piece.offset == sum(map(len, found[piece.name]))
        found[piece.name].append(numbers)
    return {name: np.concatenate(parts) for name, parts in found.items()}


@given(piece_bytes=st.sampled_from([16, 64, 1000, 1 << 20]), unit=st.sampled_from([1, 150, 300]))
def test_all_numbers_and_all_bytes_are_seen(
    piece_bytes: int, unit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write_safetensors(tmp_path_factory.mktemp("stream") / "m.safetensors", STATE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_stream, "PIECE_BYTES", piece_bytes)
        file = SafetensorsFile(path)
        wanted = {name: 1 for name in STATE if name != "unused"} | {"wide": unit}
        stream = FileStream(file, wanted)
        sizes = [len(piece.data) for piece in FileStream(file, wanted) if piece.name == "wide"]
        found = collect(stream)
        file.close()
    assert all(size % (4 * unit) == 0 for size in sizes)
    assert found.keys() == STATE.keys() - {"unused"}
    for name, numbers in found.items():
        np.testing.assert_array_equal(numbers, STATE[name].reshape(-1))
    assert stream.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_torch_file_is_seen_whole(tmp_path: Path) -> None:
    path = write_torch(tmp_path / "m.bin", {"a": STATE["wide"], "b": STATE["wide"][:2] * 2})
    file = TorchFile(path)
    stream = FileStream(file, {"a": 1, "b": 150})
    found = collect(stream)
    file.close()
    np.testing.assert_array_equal(found["a"], STATE["wide"].reshape(-1))
    np.testing.assert_array_equal(found["b"], STATE["wide"][:2].reshape(-1) * 2)
    assert stream.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 8)


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize(("change", "message"), [(shorten, "became shorter"), (touch, "changed while it was read")])
def test_a_file_that_changes_on_the_way_is_refused(change: Any, message: str, tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "m.safetensors", STATE)
    file = SafetensorsFile(path)
    change(path)
    with pytest.raises(ConversionError, match=message):
        collect(FileStream(file, dict.fromkeys(("wide", "half", "double", "scalar"), 1)))
    file.close()


def strided_file(path: Path) -> Path:
    """Twelve numbers seen whole, transposed and in part."""
    numbers = np.arange(12, dtype=np.float32)
    description = {
        "whole": view((3, 4), (4, 1), elements=12),
        "turned": view((4, 3), (1, 4), elements=12),
        "part": view((2, 4), (4, 1), elements=12, offset=4),
    }
    path.write_bytes(torch_bytes(description, {"0": numbers.tobytes()}))
    return path


@pytest.mark.parametrize("name", ["whole", "turned", "part"])
def test_views_of_torch_files_come_in_their_own_order(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_file, "READ_AT_ONCE", 16)
    file = TorchFile(strided_file(tmp_path / "m.bin"))
    want = file.read(name)
    pieces = list(file.pieces(name, want.shape[1]))
    file.close()
    assert len(pieces) > 1
    assert all(len(piece) % want.shape[1] == 0 for piece in pieces)
    np.testing.assert_array_equal(np.concatenate(pieces), want.reshape(-1))


def test_a_torch_file_whose_checksum_is_wrong_is_refused(tmp_path: Path) -> None:
    path = strided_file(tmp_path / "m.bin")
    content = path.read_bytes()
    place = content.index(np.float32(7).tobytes())
    path.write_bytes(content[:place] + np.float32(8).tobytes() + content[place + 4 :])
    file = TorchFile(path)
    with pytest.raises(ConversionError, match="is damaged: Bad CRC-32"):
        list(file.pieces("whole"))
    file.close()


def test_equal_tables_are_told_across_formats_and_orders(tmp_path: Path) -> None:
    """An index may name files of both formats; a tied head may have been stored in another order."""
    numbers = np.arange(12, dtype=np.float32).reshape(3, 4)
    write_safetensors(tmp_path / "one.safetensors", {"a": numbers, "b": numbers + 1})
    strided_file(tmp_path / "two.bin")
    homes = {"a": "one.safetensors", "b": "one.safetensors", **dict.fromkeys(("whole", "turned", "part"), "two.bin")}
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps({"weight_map": homes}))
    with open_checkpoint(tmp_path / "m.safetensors.index.json") as checkpoint:
        assert checkpoint.are_equal("a", "whole")
        assert not checkpoint.are_equal("b", "whole")
        assert not checkpoint.are_equal("a", "b")
