"""Weight files as we write them, read by the library that defines the format and by MLX."""

import json
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from convert.writer import TensorSpec, WeightWriter, divide_into_shards
from mlx_mixer.errors import ConversionError
from mlx_mixer.safetensors_header import check_safetensors

ARRAYS = {
    "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "b.odd": np.arange(3, dtype=np.float16),
    "c.packed": np.arange(6, dtype=np.uint32).reshape(2, 3),
    "d.scalar": np.array(7, np.float32),
}
NAMES = {"float32": "F32", "float16": "F16", "uint32": "U32"}
SPECS = [TensorSpec(name, NAMES[array.dtype.name], array.shape) for name, array in ARRAYS.items()]


def write(folder: Path, max_bytes: int = 1 << 20, *, step: int = 8) -> tuple[Path, ...]:
    """Write every tensor in small steps, its end first."""
    with WeightWriter(folder, SPECS, max_bytes) as writer:
        for name, array in ARRAYS.items():
            raw = array.tobytes()
            for begin in reversed(range(0, len(raw), step)):
                writer.write(name, begin, raw[begin : begin + step])
        writer.finish()
    return writer.files


def test_one_file_is_what_the_reference_library_reads(tmp_path: Path) -> None:
    assert write(tmp_path) == (tmp_path / "model.safetensors",)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    loaded = load_file(tmp_path / "model.safetensors")
    assert loaded.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype
    with safe_open(tmp_path / "model.safetensors", "np") as file:
        assert file.metadata() == {"format": "mlx"}
    assert dict(mx.load(str(tmp_path / "model.safetensors"))).keys() == ARRAYS.keys()  # type: ignore[arg-type]


def test_every_tensor_lies_at_a_multiple_of_its_size(tmp_path: Path) -> None:
    (file,) = write(tmp_path)
    header = check_safetensors(file)
    for name, entry in header.entries.items():
        assert (header.data_start + entry.begin) % ARRAYS[name].itemsize == 0


def test_shards_are_named_and_indexed_as_on_the_hub(tmp_path: Path) -> None:
    files = write(tmp_path, 54)
    assert [file.name for file in files] == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(array.nbytes for array in ARRAYS.values())
    assert index["weight_map"].keys() == ARRAYS.keys()
    for name, file in index["weight_map"].items():
        np.testing.assert_array_equal(load_file(tmp_path / file)[name], ARRAYS[name])


def test_shards_take_tensors_in_order_and_a_large_one_alone() -> None:
    specs = [TensorSpec(str(size), "U8", (size,)) for size in (3, 4, 20, 2, 8, 1)]
    shards = divide_into_shards(specs, 10)
    assert [[spec.name for spec in shard] for shard in shards] == [["3", "4"], ["20"], ["2", "8"], ["1"]]


def test_a_tiny_limit_does_not_make_more_files_than_a_process_may_open(tmp_path: Path) -> None:
    specs = [TensorSpec(f"t{number}", "U8", (10,)) for number in range(2000)]
    with WeightWriter(tmp_path, specs, 1) as writer:
        assert 50 <= len(writer.files) <= 200


def test_a_tensor_that_is_not_whole_is_noticed(tmp_path: Path) -> None:
    with WeightWriter(tmp_path, SPECS) as writer:
        writer.write("a.weight", 0, bytes(40))
        with pytest.raises(ConversionError, match=r"a\.weight lacks 8 bytes"):
            writer.finish()
