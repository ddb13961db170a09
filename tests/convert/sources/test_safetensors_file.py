"""The strict reader of safetensors files, with the reference implementation as oracle."""

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize

from convert.sources.safetensors_file import SafetensorsFile
from mlx_mixer.errors import ConversionError, MixerError, ModelNotFoundError
from mlx_mixer.safetensors_header import DTYPE_BITS
from tests.convert.files import entry, safetensors_bytes, write_safetensors

GOOD = entry("F32", [1], 0, 4)
WORD = b"\0\0\x80\x3f"


def accepts(raw: bytes, folder: Path) -> bool:
    path = folder / "model.safetensors"
    path.write_bytes(raw)
    try:
        SafetensorsFile(path).close()
    except MixerError:
        return False
    return True


def reference_accepts(raw: bytes) -> bool:
    try:
        deserialize(raw)
    except SafetensorError:
        return False
    return True


def refusal(raw: bytes, folder: Path) -> str:
    path = folder / "model.safetensors"
    path.write_bytes(raw)
    with pytest.raises(ConversionError) as caught:
        SafetensorsFile(path)
    message = str(caught.value)
    assert "\n" not in message
    assert "model.safetensors" in message
    return message


REFUSED_BY_BOTH: dict[str, bytes] = {
    "shorter than a length": b"1234567",
    "no header": safetensors_bytes(b""),
    "header beyond the file": b"\xff\0\0\0\0\0\0\0{}",
    "header of 2**63 bytes": b"\0\0\0\0\0\0\0\x80{}",
    "a list": safetensors_bytes([]),
    "not UTF-8": safetensors_bytes(b'{"\xff": 1}'),
    "a byte order mark": safetensors_bytes(b"\xef\xbb\xbf{}"),
    "text after the JSON": safetensors_bytes(b"{}\0"),
    "deep nesting": safetensors_bytes(b'{"a":' + b"[" * 9000 + b"]" * 9000 + b"}"),
    "an endless number": safetensors_bytes(b'{"a":' + b"9" * 9000 + b"}"),
    "negative dimension": safetensors_bytes({"a": entry("F32", [-1], 0, 4)}, WORD),
    "negative dimensions whose product fits": safetensors_bytes({"a": entry("F32", [-1, -1], 0, 4)}, WORD),
    "minus zero": safetensors_bytes(b'{"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}}'),
    "a fraction": safetensors_bytes(b'{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}', WORD),
    "true as a size": safetensors_bytes(b'{"a":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}}', WORD),
    "NaN as a size": safetensors_bytes(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', WORD),
    "a product that wraps to zero": safetensors_bytes({"a": entry("F32", [65536, 65536, 65536, 16384, 4], 0, 0)}),
    "a product that wraps before a zero": safetensors_bytes({"a": entry("F32", [2**63, 4, 0], 0, 0)}),
    "a size of 2**64": safetensors_bytes({"a": entry("F32", [2**64, 0], 0, 0)}),
    "shape larger than its bytes": safetensors_bytes({"a": entry("F32", [2], 0, 4)}, WORD),
    "offsets the wrong way round": safetensors_bytes({"a": entry("F32", [1], 4, 0)}, WORD),
    "offsets that wrap": safetensors_bytes({"a": entry("F32", [8], 2**64 - 32, 2**64)}, WORD * 8),
    "three offsets": safetensors_bytes({"a": {**GOOD, "data_offsets": [0, 4, 4]}}, WORD),
    "unknown type": safetensors_bytes({"a": entry("F31", [1], 0, 4)}, WORD),
    "type is no text": safetensors_bytes({"a": {**GOOD, "dtype": 4}}, WORD),
    "no type": safetensors_bytes({"a": {"shape": [1], "data_offsets": [0, 4]}}, WORD),
    "overlap": safetensors_bytes({"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)}, WORD * 3),
    "the same bytes twice": safetensors_bytes({"a": GOOD, "b": GOOD}, WORD),
    "a hole": safetensors_bytes({"a": GOOD, "b": entry("F32", [1], 8, 12)}, WORD * 3),
    "a hole at the beginning": safetensors_bytes({"a": entry("F32", [1], 4, 8)}, WORD * 2),
    "trailing bytes": safetensors_bytes({"a": GOOD}, WORD + b"\0"),
    "cut off": safetensors_bytes({"a": GOOD}, WORD[:3]),
    "half a byte": safetensors_bytes({"a": entry("F4", [3], 0, 1)}, b"\0"),
    "metadata is no text": safetensors_bytes({"__metadata__": {"a": 1}}),
    "metadata is a tensor": safetensors_bytes({"__metadata__": GOOD}),
    "a tensor is null": safetensors_bytes({"a": None}),
    "the same field twice": safetensors_bytes(
        b'{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', WORD
    ),
    "a lone surrogate in metadata": safetensors_bytes(b'{"__metadata__":{"a":"\\ud800"}}'),
    "a lone surrogate": safetensors_bytes(b'{"\\ud800":' + json.dumps(GOOD).encode() + b"}", WORD),
    "a control character": safetensors_bytes(b'{"\x01":' + json.dumps(GOOD).encode() + b"}", WORD),
}
REFUSED_BY_US: dict[str, bytes] = {
    "the same tensor twice": safetensors_bytes(
        b'{"a":' + json.dumps(GOOD).encode() + b',"a":' + json.dumps(GOOD).encode() + b"}", WORD
    ),
    "the same metadata twice": safetensors_bytes(b'{"__metadata__":{"a":"1","a":"2"}}'),
    "an unknown field": safetensors_bytes({"a": {**GOOD, "more": 1}}, WORD),
    "fields without names": safetensors_bytes({"a": ["F32", [1], [0, 4]]}, WORD),
    "an empty name": safetensors_bytes({"": GOOD}, WORD),
    "an escape sequence as a name": safetensors_bytes({"\x1b[31m": GOOD}, WORD),
    "a right-to-left override as a name": safetensors_bytes({"a\u202eb": GOOD}, WORD),
    "a long name": safetensors_bytes({"a" * 513: GOOD}, WORD),
    "a header above 16 MB": safetensors_bytes(b"{}" + b" " * (16 << 20)),
}
ACCEPTED: dict[str, bytes] = {
    "no tensors": safetensors_bytes({}),
    "a scalar": safetensors_bytes({"a": entry("F32", [], 0, 4)}, WORD),
    "spaces around": safetensors_bytes(b' \n{"a":' + json.dumps(GOOD).encode() + b"}\t ", WORD),
    "null metadata": safetensors_bytes({"__metadata__": None, "a": GOOD}, WORD),
    "any order": safetensors_bytes({"b": entry("F32", [1], 4, 8), "a": GOOD}, WORD * 2),
    "empty tensors between": safetensors_bytes(
        {"b": entry("F32", [1], 4, 8), "z": entry("F64", [0, 9], 4, 4), "a": GOOD}, WORD * 2
    ),
    "a zero before a large size": safetensors_bytes({"a": entry("F32", [0, 2**63, 4], 0, 0)}),
    "sixteen characters of another script": safetensors_bytes({"вес" * 5: GOOD}, WORD),
    "four half bytes": safetensors_bytes({"a": entry("F4", [4], 0, 2)}, b"\0\0"),
}


@pytest.mark.parametrize("name", REFUSED_BY_BOTH)
def test_what_the_reference_refuses_is_refused(name: str, tmp_path: Path) -> None:
    assert not reference_accepts(REFUSED_BY_BOTH[name])
    refusal(REFUSED_BY_BOTH[name], tmp_path)


@pytest.mark.parametrize("name", REFUSED_BY_US)
def test_what_is_ambiguous_is_refused_too(name: str, tmp_path: Path) -> None:
    assert reference_accepts(REFUSED_BY_US[name])
    refusal(REFUSED_BY_US[name], tmp_path)


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_the_reference_accepts_is_accepted(name: str, tmp_path: Path) -> None:
    assert reference_accepts(ACCEPTED[name])
    assert accepts(ACCEPTED[name], tmp_path)


@pytest.mark.parametrize("dtype", DTYPE_BITS)
def test_every_type_of_the_format_is_known(dtype: str, tmp_path: Path) -> None:
    raw = safetensors_bytes({"a": entry(dtype, [8], 0, DTYPE_BITS[dtype])}, bytes(DTYPE_BITS[dtype]))
    assert reference_accepts(raw)
    assert accepts(raw, tmp_path)


SMALL = safetensors_bytes(
    {"__metadata__": {"format": "pt"}, "a.b": entry("F32", [2, 2], 0, 16), "c": entry("F16", [3, 1], 16, 22)}, bytes(22)
)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    for length in range(len(SMALL)):
        assert not accepts(SMALL[:length], tmp_path)
    assert accepts(SMALL, tmp_path)


def mutated(raw: bytes, generator: random.Random) -> bytes:
    changed = bytearray(raw)
    for _ in range(generator.randint(1, 3)):
        position = generator.randrange(len(changed))
        match generator.randrange(4):
            case 0:
                changed[position] = generator.randrange(256)
            case 1:
                changed[position] = generator.choice(b'0123456789-.e[]{},:"')
            case 2:
                del changed[position]
            case _:
                changed.insert(position, generator.choice(b"0123456789 -"))
    if generator.random() < 0.5:
        # Most changes break only the length; with it repaired the header itself is tested.
        header_end = changed.rfind(b"}") + 1
        changed[:8] = (header_end - 8).to_bytes(8, "little") if header_end > 8 else changed[:8]
    return bytes(changed)


def test_mutations_are_judged_as_the_reference_judges_them(tmp_path: Path) -> None:
    """3,000 damaged headers: nothing that the reference refuses is accepted, and nothing sound is refused."""
    accepted = 0
    for seed in range(3000):
        raw = mutated(SMALL, random.Random(seed))
        ours, theirs = accepts(raw, tmp_path), reference_accepts(raw)
        accepted += ours
        if theirs and not ours:
            message = refusal(raw, tmp_path)
            assert "unusable name" in message or "not described by" in message or "twice" in message, (seed, message)
        assert theirs or not ours, seed
    assert accepted > 100


sizes = st.one_of(st.integers(-3, 20), st.sampled_from([2**31, 2**32, 2**63, 2**64 - 1, 2**64]))
tables = st.dictionaries(
    st.sampled_from(["a", "b", "c", "__metadata__"]),
    st.builds(
        lambda dtype, shape, begin, length: entry(dtype, shape, begin, begin + length),
        st.sampled_from(["F32", "F16", "U8", "F4", "nothing"]),
        st.lists(sizes, max_size=3),
        sizes,
        sizes,
    ),
    max_size=3,
)


@given(table=tables, data=st.integers(0, 24))
@settings(max_examples=300, deadline=None)
def test_any_table_is_judged_as_the_reference_judges_it(
    table: dict[str, Any], data: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    raw = safetensors_bytes(table, bytes(data))
    assert accepts(raw, tmp_path_factory.getbasetemp()) == reference_accepts(raw)


@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<f2"])
def test_floats_are_read_as_float32(dtype: str, tmp_path: Path) -> None:
    array = np.array([[0.5, -1.25], [3e-5, 65504.0]], dtype)
    file = SafetensorsFile(write_safetensors(tmp_path / "m.safetensors", {"a": array, "b": array[:1]}))
    np.testing.assert_array_equal(file.read("a"), array.astype(np.float32))
    np.testing.assert_array_equal(file.read("b"), array[:1].astype(np.float32))
    assert file.read("a").dtype == np.float32
    file.close()


def test_bfloat16_is_the_upper_half_of_float32(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors_bytes({"a": entry("BF16", [3], 0, 6)}, bytes.fromhex("803f20c0807f")))
    file = SafetensorsFile(path)
    np.testing.assert_array_equal(file.read("a"), np.array([1.0, -2.5, np.inf], np.float32))
    file.close()


def test_integers_are_described_but_not_read_as_weights(tmp_path: Path) -> None:
    file = SafetensorsFile(write_safetensors(tmp_path / "m.safetensors", {"a": np.arange(3)}))
    with pytest.raises(ConversionError, match="I64"):
        file.read("a")
    file.close()


def test_an_empty_tensor_of_absurd_width_is_described_but_not_read(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors_bytes({"a": entry("F32", [0, 2**63 - 1], 0, 0)}))
    file = SafetensorsFile(path)
    with pytest.raises(ConversionError, match="impossible shape"):
        file.read("a")
    file.close()


def test_a_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "m.safetensors", {"a": np.ones(100_000, np.float32)})
    file = SafetensorsFile(path)
    os.truncate(path, 1000)
    with pytest.raises(ConversionError, match="shorter"):
        file.read("a")
    file.close()


def test_a_file_that_is_written_to_meanwhile_is_refused(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "m.safetensors", {"a": np.ones(100_000, np.float32)})
    file = SafetensorsFile(path)
    with path.open("r+b") as other:
        other.seek(1000)
        other.write(b"later")
    with pytest.raises(ConversionError, match="changed while it was read"):
        file.read("a")
    file.close()


def test_a_file_that_is_replaced_meanwhile_keeps_its_numbers(tmp_path: Path) -> None:
    """Its name belongs to another file then; the one that was checked is still open."""
    path = write_safetensors(tmp_path / "m.safetensors", {"a": np.ones(100_000, np.float32)})
    file = SafetensorsFile(path)
    write_safetensors(tmp_path / "other", {"a": np.zeros(100_000, np.float32)}).rename(path)
    assert file.read("a").all()
    file.close()


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    started = time.monotonic()
    for path in (tmp_path / "pipe.safetensors", tmp_path, Path("/dev/zero")):
        with pytest.raises(ConversionError):
            SafetensorsFile(path)
    with pytest.raises(ModelNotFoundError):
        SafetensorsFile(tmp_path / "nothing.safetensors")
    assert time.monotonic() - started < 2
