"""JSON of foreign files: what other parsers read in two ways, or not at all, is an error."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_mixer.errors import CheckpointError
from mlx_mixer.strict_json import parse_json

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(value=values, is_ascii=st.booleans())
def test_sound_json_is_read_as_python_reads_it(value: object, is_ascii: bool) -> None:
    assert parse_json(json.dumps(value, ensure_ascii=is_ascii).encode(), "it") == value


BAD = {
    "nothing": b"",
    "two values": b"1 2",
    "a comment": b"{} // x",
    "a comma at the end": b"[1,]",
    "a key twice": b'{"a":1,"a":1}',
    "a key twice, written differently": b'{"a":1,"\\u0061":1}',
    "a key twice, deep inside": b'[{"b":{"a":1,"a":1}}]',
    "NaN": b"[NaN]",
    "infinity": b"-Infinity",
    "a number that is infinite": b"[1e999]",
    "a number that is infinite, written out": b"1" + b"0" * 400 + b".5",
    "minus zero": b"[-0]",
    "a number without end": b"9" * 10_000,
    "a lone surrogate": b'{"a":"\\ud800"}',
    "a lone surrogate as a key": b'{"\\udfff":1}',
    "latin-1": b'"\xe9"',
    "UTF-16": "{}".encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a control character": b'"\x00"',
    "brackets without end": b"[" * 1_000_000,
    "tables without end": b'{"a":' * 1_000_000,
}


@pytest.mark.parametrize("name", BAD)
def test_anything_else_is_one_line(name: str) -> None:
    with pytest.raises(CheckpointError, match="the file is not valid JSON") as caught:
        parse_json(BAD[name], "the file")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200
