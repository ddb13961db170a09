"""Whole conversions of damaged checkpoints: a model folder that loads, or one line and nothing left behind."""

import random
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from convert import convert_checkpoint, inspect_checkpoint
from mlx_mixer.checkpoint import load_model
from mlx_mixer.errors import MixerError
from tests.convert.files import State, flat_state, write_safetensors
from tests.convert.structured_files import single, structured_state
from tests.fuzz import campaign
from tests.fuzz.mutate import pick

SIZES = (0, 1, 2, 3, 5, 7, 8, 9, 16, 64)
NAMES = (
    "lm_head.weight",
    "wte_second.weight",
    "decoder_wte.weight",
    "retrieval_head.weight",
    "reward_head.weight",
    "input_layer.weight",
    "projection.weight",
    "query",
    "model.wte.weight",
    "module.wte.weight",
    "mixerblocks.0.conv.convs.0.weight",
    "mixerblocks.9999.conv.weight",
    "mixerblocks.01.conv.weight",
    "encoderblocks.0.conv.weight",
    "mixer_blocks.0.token_mixing_layer.mixer_heads.0.weight",
    "x.self_attn.q_proj.weight",
)
VALUES = (0.0, 1e38, -1e38, float("nan"), float("inf"), 1e-45, 300.0)


def damaged(generator: random.Random) -> State:
    """A small checkpoint with tensors renamed, removed, added, of other shapes or values."""
    sizes = {"vocab": 7, "dims": 4, "length": 5, "layers": 2, "inner": 8}
    state: dict[str, Any] = dict(
        flat_state(**sizes) if generator.random() < 0.7 else structured_state(single(generator.choice((1, 2, 3))))
    )
    for _ in range(generator.choice((0, 1, 1, 2))):
        name = pick(generator, sorted(state))
        array = state[name]
        match generator.randrange(7):
            case 0:
                del state[name]
            case 1:
                state[pick(generator, NAMES)] = state.pop(name)
            case 2:
                state[pick(generator, NAMES)] = array
            case 3:
                shape = [pick(generator, SIZES) if generator.random() < 0.5 else size for size in array.shape]
                state[name] = np.resize(array, shape).astype(np.float32)
            case 4:
                changed = array.copy()
                changed.flat[generator.randrange(array.size) if array.size else 0 : None] = pick(generator, VALUES)
                state[name] = changed
            case 5:
                state[name] = array.astype(pick(generator, (np.float64, np.float16, np.int64, np.bool_)))
            case _:
                state[name] = array[None] if generator.random() < 0.5 else array.reshape(-1)
    return state


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_conversions(tmp_path: Path) -> None:
    source, out = tmp_path / "in" / "model.safetensors", tmp_path / "all" / "out"
    source.parent.mkdir()
    out.parent.mkdir()

    def make(generator: random.Random) -> bytes:
        return write_safetensors(tmp_path / "made", damaged(generator)).read_bytes()

    def place(raw: bytes) -> None:
        for path in out.iterdir() if out.is_dir() else ():
            path.unlink()
        source.write_bytes(raw)

    def read(_raw: bytes) -> bool:
        hints = {} if "needs" not in inspect_checkpoint(source).verdict else {"mixer": "row"}
        try:
            report = convert_checkpoint(source, out, **hints)
        except MixerError:
            assert list(out.parent.iterdir()) == ([out] if out.is_dir() else []), "something was left behind"
            assert not (out.is_dir() and any(out.iterdir())), "half a model"
            raise
        model = load_model(out)
        assert model.config.num_parameters == report.parameters
        assert mx.isfinite(model(mx.array([[0, 1]]))).all().item()
        return True

    place(write_safetensors(tmp_path / "made", flat_state(vocab=7, dims=4, length=5)).read_bytes())
    assert read(b"")
    tally = campaign.run("conversion", make, read, tmp_path, place=place, allowed=out.parent, share=0.1)
    assert tally.accepted > tally.inputs // 20
    assert tally.refused > tally.inputs // 4
