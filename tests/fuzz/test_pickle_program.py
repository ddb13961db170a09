"""Hostile pickles: nothing runs, and nothing is accepted that would have run anything but the few rebuild functions."""

from pathlib import Path

import pytest

from convert.sources.pickle_program import CONSTRUCTORS, PickleProgram
from mlx_mixer.errors import ConversionError
from tests.convert.files import pickled
from tests.fuzz import campaign
from tests.fuzz.guard import watched
from tests.fuzz.pickles import ATTACKS, mutated_program, state, would_call

# Harmless by themselves: a value that is no table of tensors, refused by the reader of the file around it.
HARMLESS = {
    "memo with a huge number",
    "deep tuples",
    "doubling tuples",
    "laughing tuples",
    "a table in itself",
    "two ends",
    "another protocol",
    "persistent id that is deep",
    "deep lists",
    "a frame beyond the end",
}


def test_programs(tmp_path: Path) -> None:
    def read(raw: bytes) -> bool:
        PickleProgram(raw, "model.bin").run()
        assert would_call(raw) <= CONSTRUCTORS.keys(), f"accepted, although it calls {would_call(raw)}"
        return True

    assert read(pickled(state()))
    tally = campaign.run("pickle program", mutated_program, read, tmp_path)
    assert tally.accepted > tally.inputs // 50
    assert tally.refused > tally.inputs // 3


@pytest.mark.parametrize("name", ATTACKS)
def test_every_known_shape_of_attack_is_refused_and_does_nothing(name: str) -> None:
    raw = b"\x80\x04" + ATTACKS[name] + b"."
    with watched(None, 5):
        if name in HARMLESS:
            PickleProgram(raw, "model.bin").run()
            return
        with pytest.raises(ConversionError) as caught:
            PickleProgram(raw, "model.bin").run()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_the_judge_sees_what_python_would_call() -> None:
    """Only with a judge that sees them does acceptance mean something."""
    for name in (
        "reduce os.system",
        "dotted stack global",
        "obj",
        "inst",
        "ext1",
        "map",
        "memo written twice",
        "build twice",
    ):
        assert would_call(b"\x80\x04" + ATTACKS[name] + b"."), name
    assert would_call(pickled(state())) == {
        "collections.OrderedDict",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
    }
