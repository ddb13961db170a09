"""Weights in the other byte order are refused for what they are; ordinary ones, however small or large, are not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.sources.byte_order import other_order, refuse_swapped
from convert.sources.containers import open_checkpoint
from mlx_mixer.errors import ConversionError
from tests.convert.files import entry, flat_state, safetensors_bytes, write_safetensors
from tests.convert.golden import CASES, checkpoint

FINITE = {name: (array * 0 + np.float32(0.37)).astype(np.float32) for name, array in flat_state().items()}


def stored(state: dict[str, Any], dtype: str, change: Callable[[Any], Any]) -> bytes:
    header, data = {}, b""
    for name, array in state.items():
        bits = array.astype(np.float16).view(np.uint16) if dtype == "F16" else array.view(np.uint32)
        bits = (bits >> 16).astype(np.uint16) if dtype == "BF16" else bits
        raw = np.ascontiguousarray(change(bits)).tobytes()
        header[name] = entry(dtype, list(array.shape), len(data), len(data) + len(raw))
        data += raw
    return safetensors_bytes(header, data)


# One value everywhere may be finite either way, so that looking for infinite ones is not enough.
STATES = {"F32": flat_state(), "F16": flat_state(), "BF16": flat_state(), "F32, finite either way": FINITE}


@pytest.mark.parametrize("name", STATES)
def test_numbers_in_the_other_byte_order_are_told(name: str, tmp_path: Path) -> None:
    dtype, state = name.partition(",")[0], STATES[name]
    path = tmp_path / "m.safetensors"
    path.write_bytes(stored(state, dtype, lambda bits: bits.byteswap()))
    with open_checkpoint(path) as opened, pytest.raises(ConversionError, match="other byte order"):
        refuse_swapped(opened)
    path.write_bytes(stored(state, dtype, lambda bits: bits))
    with open_checkpoint(path) as opened:
        refuse_swapped(opened)


@pytest.mark.parametrize("name", [name for name in CASES if "io" in CASES[name]])
def test_no_golden_checkpoint_is_taken_for_one(name: str) -> None:
    with open_checkpoint(checkpoint(name)) as opened:
        refuse_swapped(opened)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-9, 1e9, 1e30])
def test_absurd_numbers_that_make_no_sense_either_way_are_left_to_other_checks(scale: float, tmp_path: Path) -> None:
    state = {name: (array * scale).astype(np.float32) for name, array in flat_state().items()}
    with open_checkpoint(write_safetensors(tmp_path / "m.safetensors", state)) as opened:
        refuse_swapped(opened)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_the_other_order_of_the_other_order_is_the_first(dtype: str) -> None:
    array = np.array([1.5, -0.25, 3.0], np.float32)
    np.testing.assert_array_equal(other_order(other_order(array, dtype), dtype), array)
