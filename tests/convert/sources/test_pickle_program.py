"""Pickles as data: time and memory stay bounded by the size of the pickle, whatever it says."""

import contextlib
import io
import pickle
import pickletools
import random
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.sources.pickle_program import PickleProgram
from mlx_mixer.errors import ConversionError
from tests.convert.files import pickled

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


def run(raw: bytes) -> Any:
    return PickleProgram(raw, "file.bin").run()


@given(value=plain, protocol=st.integers(2, 5))
@settings(max_examples=200, deadline=None)
def test_plain_values_come_back_from_every_binary_protocol(value: Any, protocol: int) -> None:
    assert run(pickle.dumps(value, protocol)) == value


@given(value=plain)
@settings(max_examples=50, deadline=None)
def test_the_writer_of_these_tests_writes_pickles(value: Any) -> None:
    assert pickle.loads(pickled(value)) == value


# Pairs of the pair before: few bytes, and a billion billion elements to whoever unfolds them.
DOUBLING = b"".join(b"\x94h" + bytes([index]) + b"\x86" for index in range(60))
BAD: dict[str, bytes] = {
    "nothing": b"",
    "no end": b"\x80\x02}",
    "an empty stack": b"\x80\x02.",
    "a tuple without a mark": b"\x80\x02t.",
    "three of two": b"\x80\x02NN\x87.",
    "an unknown memo entry": b"\x80\x02h\x07.",
    "items for a number": b"\x80\x02K\x01(K\x01K\x02u.",
    "an odd number of items": b"\x80\x02}(K\x01u.",
    "a key that is a list": b"\x80\x02}]K\x02s.",
    "a key that is a tuple": b"\x80\x02})K\x02s.",
    "a key that doubles sixty times": b"\x80\x04})" + DOUBLING + b"K\x02s.",
    "items appended to a table": b"\x80\x02}K\x01a.",
    "a global without a name": b"\x80\x04K\x01K\x02\x93.",
    "a persistent id of text": b"\x80\x02X\x01\0\0\0aQ.",
    "a persistent id in text form": b"Pa\n.",
    "an instance": b"\x80\x02(cos\nsystem\no.",
    "an instance by name": b"(ios\nsystem\n.",
    "a new object": b"\x80\x02cos\nsystem\n)\x81.",
    "an extension": b"\x80\x02\x82\x01.",
    "a call with a list": b"\x80\x02cbuiltins\nlist\n]R.",
    "a call of a number": b"\x80\x02K\x01)R.",
    "a text that is longer than the file": b"\x80\x02X\xff\xff\xff\x7fa.",
    "bytes": pickle.dumps(b"abc", 4),
    "a frozen set": pickle.dumps(frozenset("a"), 4),
}


@pytest.mark.parametrize("name", BAD)
def test_anything_else_is_refused(name: str) -> None:
    with pytest.raises(ConversionError, match=r"file\.bin"):
        run(BAD[name])


HOSTILE: dict[str, bytes] = {
    "a memo entry with a huge number": b"\x80\x02}r\xff\xff\xff\xff.",
    "tuples that double sixty times": b"\x80\x04)"
    + b"".join(b"\x94h" + bytes([i]) + b"\x86" for i in range(60))
    + b".",
    "nested tuples": b"\x80\x02)" + b"\x85" * 200_000 + b".",
    "many marks": b"\x80\x02" + b"(" * 200_000 + b"t" * 200_000 + b".",
    "a table in itself": b"\x80\x02}q\0X\x01\0\0\0ah\0s.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_small_pickles_stay_small(name: str) -> None:
    started = time.monotonic()
    value = run(HOSTILE[name])
    assert time.monotonic() - started < 5
    assert isinstance(value, tuple | dict)


def test_mutations_never_raise_anything_else() -> None:
    raw = pickle.dumps({"a": (1, 2.5, [None, True]), "b": {"c": "text"}}, 4)
    for seed in range(500):
        generator = random.Random(seed)
        changed = bytearray(raw)
        for _ in range(generator.randint(1, 5)):
            changed[generator.randrange(len(raw))] = generator.randrange(256)
        with contextlib.suppress(ConversionError):
            run(bytes(changed))


def test_the_refused_samples_are_pickles_to_python() -> None:
    for name in ("an instance", "an instance by name", "a new object", "bytes"):
        pickletools.dis(BAD[name], io.StringIO())
