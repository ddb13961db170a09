"""The reader of torch files: tensors come out, nothing ever runs."""

import contextlib
import copy
import io
import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy

from convert.sources.safetensors_file import SafetensorsFile
from convert.sources.torch_file import TorchFile
from mlx_mixer.errors import ConversionError, MixerError
from tests.convert.files import (
    ORDERED_DICT,
    Call,
    Name,
    Stored,
    pickled,
    torch_bytes,
    view,
    write_torch,
)
from tests.convert.golden import GOLDEN

ONE = np.ones(1, np.float32).tobytes()
GOLDEN_BIN = GOLDEN / "flat_bin" / "pytorch_model.bin"


def opened(raw: bytes, folder: Path) -> TorchFile:
    path = folder / "model.bin"
    path.write_bytes(raw)
    return TorchFile(path)


def refusal(raw: bytes, folder: Path) -> str:
    with pytest.raises(ConversionError) as caught:
        opened(raw, folder)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


def read_all(file: TorchFile) -> None:
    for name in file.tensors:
        file.read(name)


def test_a_file_of_torch_save_holds_what_its_safetensors_twin_holds() -> None:
    ours, twin = TorchFile(GOLDEN_BIN), SafetensorsFile(GOLDEN / "flat.safetensors")
    assert ours.tensors == twin.tensors
    for name in twin.tensors:
        np.testing.assert_array_equal(ours.read(name), twin.read(name))
    ours.close()
    twin.close()


@given(
    array=hypothesis_numpy.arrays(
        np.float32,
        hypothesis_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
        elements=st.floats(width=32),
    ),
    axes=st.randoms(use_true_random=False),
)
@settings(max_examples=100, deadline=None)
def test_any_transposed_tensor_comes_back(
    array: Any, axes: random.Random, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """torch.save keeps strides: a transposed tensor is a view of its untransposed numbers."""
    order = list(range(array.ndim))
    axes.shuffle(order)
    strides = tuple(stride // 4 for stride in array.strides)
    stored = view(
        tuple(array.shape[axis] for axis in order), tuple(strides[axis] for axis in order), elements=array.size
    )
    file = opened(torch_bytes({"a": stored}, {"0": array.tobytes()}), tmp_path_factory.getbasetemp())
    np.testing.assert_array_equal(file.read("a"), array.transpose(order))
    file.close()


def test_tensors_may_share_a_storage(tmp_path: Path) -> None:
    numbers = np.arange(7, dtype=np.float32)
    table = {
        "a": view((2, 2), (2, 1), elements=7, offset=1),
        "b": view((2,), (3,), elements=7, offset=3),
        "c": view((), (), elements=7, offset=6),
    }
    file = opened(torch_bytes(table, {"0": numbers.tobytes()}), tmp_path)
    np.testing.assert_array_equal(file.read("a"), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(file.read("b"), [3, 6])
    assert file.read("c") == 6
    file.close()


@pytest.mark.parametrize("dtype", ["<f8", "<f2"])
def test_other_floats_are_read_as_float32(dtype: str, tmp_path: Path) -> None:
    array = np.array([0.5, -1.25, 3e-5], dtype)
    file = TorchFile(write_torch(tmp_path / "m.bin", {"a": array}))
    np.testing.assert_array_equal(file.read("a"), array.astype(np.float32))
    file.close()


def test_bfloat16_is_read(tmp_path: Path) -> None:
    stored = view((2,), (1,), elements=2, storage=Name("torch", "BFloat16Storage"))
    file = opened(torch_bytes({"a": stored}, {"0": bytes.fromhex("803f20c0")}), tmp_path)
    np.testing.assert_array_equal(file.read("a"), np.array([1.0, -2.5], np.float32))
    file.close()


def test_integers_are_described_but_not_read_as_weights(tmp_path: Path) -> None:
    file = TorchFile(write_torch(tmp_path / "m.bin", {"a": np.arange(3), "b": np.ones(2, bool)}))
    assert [info.dtype for info in file.tensors.values()] == ["I64", "BOOL"]
    with pytest.raises(ConversionError, match="I64"):
        file.read("a")
    file.close()


def test_parameters_and_ordered_tables_are_read(tmp_path: Path) -> None:
    tensor = view((1,), (1,), elements=1)
    parameter = Call(Name("torch._utils", "_rebuild_parameter"), (tensor, True, Call(ORDERED_DICT, ())))
    ordered = pickled(Call(ORDERED_DICT, ()))[:-1]
    with_items = ordered + b"(" + pickled("a")[2:-1] + pickled(parameter)[2:-1] + b"u"
    # torch notes the version of every module as an attribute of the table.
    with_state = with_items + pickled({"_metadata": Call(ORDERED_DICT, ())})[2:-1] + b"b."
    file = opened(torch_bytes(with_state, {"0": ONE}), tmp_path)
    assert file.read("a") == 1
    file.close()


class _Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_payload_does_not_run(protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    message = refusal(torch_bytes(pickle.dumps({"a": _Payload(marker)}, protocol), {}), tmp_path)
    assert not marker.exists()
    assert "system" in message or protocol == 0
    pickle.loads(pickle.dumps(_Payload(marker)))
    assert marker.exists(), "the payload would have worked"


CALLS = {
    "builtins.eval": Call(Name("builtins", "eval"), ("1",)),
    "importlib.import_module": Call(Name("importlib", "import_module"), ("os",)),
    "torch.load": Call(Name("torch", "load"), ("other.bin",)),
    "torch.hub.load": Call(Name("torch.hub", "load"), ("owner/name", "model")),
    "functools.partial": Call(Name("functools", "partial"), (Name("os", "system"), "true")),
    "operator.attrgetter": Call(Name("operator", "attrgetter"), ("system",)),
    "numpy.core.multiarray._reconstruct": Call(Name("numpy.core.multiarray", "_reconstruct"), ()),
    "transformers.training_args.TrainingArguments": Call(Name("transformers.training_args", "TrainingArguments"), ()),
    "collections.OrderedDict.x": Call(Name("collections", "OrderedDict.x"), ()),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_a_file_wants_to_run_is_named(name: str, tmp_path: Path) -> None:
    assert name in refusal(torch_bytes({"a": CALLS[name]}, {}), tmp_path)


def new_object(kind: str) -> bytes:
    """An object of a class, as protocol 2 describes every pickled module."""
    module, _, name = kind.rpartition(".")
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b")\x81}b."


OBJECTS = {
    "__main__.LanguageMixer": "save model.state_dict() alone",
    "torch.nn.modules.container.Sequential": "save model.state_dict() alone",
    "transformers.training_args.TrainingArguments": "settings of a training run",
    "torch.distributed._shard.sharded_tensor.api.ShardedTensor": "accelerate merge-weights",
    "collections.Counter": "holds more than weights",
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_the_class_of_a_pickled_object_is_named(kind: str, tmp_path: Path) -> None:
    message = refusal(torch_bytes(new_object(kind), {}), tmp_path)
    assert repr(kind)[:60] in message
    assert OBJECTS[kind] in message


NOT_FLAT: dict[str, Any] = {
    "a list": [view((1,), (1,), elements=1)],
    "one tensor": view((1,), (1,), elements=1),
    "nothing": {},
    "a training checkpoint": {"epoch": 3, "state_dict": {"a": view((1,), (1,), elements=1)}},
    "numbers": {"a": 1.5},
    "a global": {"a": Name("os", "system")},
    "an optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
    "names that are numbers": {1: view((1,), (1,), elements=1)},
    "an unprintable name": {"a\nb": view((1,), (1,), elements=1)},
}


@pytest.mark.parametrize("name", NOT_FLAT)
def test_only_a_flat_table_of_tensors_is_read(name: str, tmp_path: Path) -> None:
    refusal(torch_bytes(NOT_FLAT[name], {"0": ONE}), tmp_path)


VIEWS: dict[str, Any] = {
    "a shape beyond the storage": view((2,), (1,), elements=1),
    "an offset beyond the storage": view((1,), (1,), elements=1, offset=1),
    "strides beyond the storage": view((1, 2), (1, 9), elements=2),
    "one number repeated": view((1 << 20, 1 << 20), (0, 0), elements=1),
    "a negative size": view((-1,), (1,), elements=1),
    "a negative stride": view((1,), (-1,), elements=1),
    "a negative offset": view((1,), (1,), elements=1, offset=-1),
    "sizes and strides of different number": view((1, 1), (1,), elements=1),
    "nine axes": view((1,) * 9, (1,) * 9, elements=1),
    "a storage of other length": view((1,), (1,), elements=2),
    "a negative storage": view((0,), (1,), elements=-1),
    "a storage that is missing": view((1,), (1,), key="7", elements=1),
    "a storage outside": view((1,), (1,), key="../version", elements=1),
    "an unknown storage": view((1,), (1,), elements=1, storage=Name("torch", "QInt8Storage")),
    "no storage": Call(Name("torch._utils", "_rebuild_tensor_v2"), (1, 0, (1,), (1,), False, None)),
    "too few facts": Call(Name("torch._utils", "_rebuild_tensor_v2"), (1, 0)),
    "a shape that is text": Call(
        Name("torch._utils", "_rebuild_tensor_v2"),
        (Stored(("storage", Name("torch", "FloatStorage"), "0", "cpu", 1)), 0, "ab", (1, 1), False, None),
    ),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_stay_inside_their_storage(name: str, tmp_path: Path) -> None:
    refusal(torch_bytes({"a": VIEWS[name]}, {"0": ONE * (2 if name.startswith("strides") else 1)}), tmp_path)


def test_compressed_archives_are_refused_before_they_unfold(tmp_path: Path) -> None:
    table = {"a": view((1 << 20,), (1,), elements=1 << 20)}
    raw = torch_bytes(table, {"0": bytes(4 << 20)}, compression=zipfile.ZIP_DEFLATED)
    assert len(raw) < 100_000
    assert "compressed" in refusal(raw, tmp_path)


def test_members_that_lie_over_each_other_are_refused(tmp_path: Path) -> None:
    """The other way to a small archive of any size: many names for the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled({"a": view((1000,), (1,), elements=1000)}))
        archive.writestr("archive/data/0", bytes(4000))
        for key in range(1, 50):
            again = copy.copy(archive.filelist[1])
            again.filename = again.orig_filename = f"archive/data/{key}"
            archive.filelist.append(again)
    assert "larger than the file" in refusal(buffer.getvalue(), tmp_path)


def test_members_that_share_a_part_are_refused(tmp_path: Path) -> None:
    """Small enough to fit the file together, and yet one inside the other."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled({"a": view((10,), (1,), elements=10)}))
        archive.writestr("archive/data/0", bytes(4000))
        inner = copy.copy(archive.filelist[1])
        inner.filename = inner.orig_filename = "archive/data/1"
        inner.header_offset += 100
        archive.filelist[1].file_size = archive.filelist[1].compress_size = 2000
        inner.file_size = inner.compress_size = 40
        archive.filelist.append(inner)
    assert "lie over each other" in refusal(buffer.getvalue(), tmp_path)


def test_a_small_file_does_not_become_a_large_model(tmp_path: Path) -> None:
    """A thousand tensors of the same numbers would be a thousand times the file on disk."""
    many = {f"t{index}": view((1000,), (1,), elements=1000) for index in range(1000)}
    assert "at most 8 times" in refusal(torch_bytes(many, {"0": bytes(4000)}), tmp_path)
    # Views of few numbers far apart take the time that reading all between them takes.
    apart = {f"t{index}": view((2,), (999,), elements=1000) for index in range(1000)}
    assert "at most 8 times" in refusal(torch_bytes(apart, {"0": bytes(4000)}), tmp_path)


def test_a_view_reads_only_the_numbers_that_it_spans(tmp_path: Path) -> None:
    numbers = np.arange(1000, dtype=np.float32)
    table = {"a": view((3, 2), (5, 2), elements=1000, offset=40), "rest": view((1000,), (1,), elements=1000)}
    file = opened(torch_bytes(table, {"0": numbers.tobytes()}), tmp_path)
    with zipfile.ZipFile(tmp_path / "model.bin") as archive:
        where = archive.getinfo("archive/data/0").header_offset
    np.testing.assert_array_equal(file.read("a"), [[40, 42], [45, 47], [50, 52]])
    file.close()
    raw = bytearray((tmp_path / "model.bin").read_bytes())
    raw[where : where + 4] = b"PK\5\6"
    damaged = opened(bytes(raw), tmp_path)
    with pytest.raises(ConversionError, match="not where its table says"):
        damaged.read("a")
    damaged.close()


def test_a_file_that_is_written_to_meanwhile_is_refused(tmp_path: Path) -> None:
    file = opened(torch_bytes({"a": view((1,), (1,), elements=1)}, {"0": ONE}), tmp_path)
    with (tmp_path / "model.bin").open("r+b") as other:
        other.write(b"P")
    os.utime(tmp_path / "model.bin", (1, 1))
    with pytest.raises(ConversionError, match="changed while it was read"):
        file.read("a")
    file.close()


def test_big_endian_files_are_refused(tmp_path: Path) -> None:
    raw = torch_bytes({"a": view((1,), (1,), elements=1)}, {"0": ONE}, byteorder="big")
    assert "big-endian" in refusal(raw, tmp_path)


def test_other_archives_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("notes/readme.txt", "hello")
    assert "torch.save" in refusal(buffer.getvalue(), tmp_path)
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/data.pkl", pickled({"a": 1}))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a/data.pkl", pickled({"a": 2}))
    assert "twice" in refusal(buffer.getvalue(), tmp_path)


def test_a_flipped_bit_in_a_tensor_is_noticed(tmp_path: Path) -> None:
    raw = bytearray(GOLDEN_BIN.read_bytes())
    raw[len(raw) // 2] ^= 1
    file = opened(bytes(raw), tmp_path)
    with pytest.raises(ConversionError, match="damaged"):
        read_all(file)
    file.close()


def test_damaged_files_end_in_one_clear_line(tmp_path: Path) -> None:
    """300 mutations of a real file: each is read, or refused by us; nothing else is raised."""
    raw = GOLDEN_BIN.read_bytes()
    description = raw.index(b"\x80\x02"), raw.index(b".format_version")
    refused = 0
    for seed in range(300):
        generator = random.Random(seed)
        changed = bytearray(raw)
        low, high = description if seed % 2 else (0, len(raw))
        for _ in range(generator.randint(1, 4)):
            changed[generator.randrange(low, high)] = generator.randrange(256)
        try:
            file = opened(bytes(changed if seed % 5 else changed[: generator.randrange(len(raw))]), tmp_path)
            with contextlib.closing(file):
                read_all(file)
        except MixerError:
            refused += 1
    assert refused > 250
