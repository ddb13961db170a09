"""Files of autoencoders, re-rankers and bidirectional mixers whose parts do not fit together, or hold garbage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from convert import convert_checkpoint
from mlx_mixer.errors import ConversionError
from tests.convert.files import renamed, write_safetensors
from tests.convert.golden import checkpoint, needed_hints

State = dict[str, Any]
Change = Callable[[State], State]


def converted_weights(state: State, folder: Path, **hints: Any) -> State:
    convert_checkpoint(write_safetensors(folder / "m.safetensors", state), folder / "out", **hints)
    return dict(load_file(folder / "out" / "model.safetensors"))


def stored(name: str) -> State:
    return dict(load_file(checkpoint(name)))


def without(*names: str) -> Change:
    return lambda state: {name: array for name, array in state.items() if name not in names}


def resized(name: str, *shape: int) -> Change:
    return lambda state: {**state, name: np.ones(shape, np.float32)}


def renaming(old: str, new: str) -> Change:
    return lambda state: renamed(state, old, new)


def fewer_decoder_heads(state: State) -> State:
    return {name: array for name, array in state.items() if "decoderblocks" not in name or ".3." not in name}


MISFITS: dict[str, tuple[str, Change, str]] = {
    "a bottleneck without a way out": (
        "autoencoder_c4",
        without("up.weight", "up.bias"),
        "only a part of the bottleneck",
    ),
    "a bottleneck without a bias": ("autoencoder_c4", without("down.bias"), "only a part of the bottleneck"),
    "a bottleneck that does not close": ("autoencoder_c4", resized("up.weight", 32, 7), "C = 8"),
    "a projection of other width": ("autoencoder_unroll_k4", resized("projection.weight", 24, 11), "takes 11 features"),
    "a decoder of other length": ("autoencoder", resized("decoderblocks.0.conv.bias", 15), "L = 16"),
    "a decoder of other width": ("autoencoder", resized("decoderblocks.0.patch_ff.0.bias", 64), "F = 128"),
    "a decoder of fewer heads": ("autoencoder_headed_h4", fewer_decoder_heads, "lacks decoderblocks.0.conv."),
    "a missing decoder block": (
        "autoencoder",
        renaming("decoderblocks.0.", "decoderblocks.2."),
        "block 0 is missing",
    ),
    "a missing encoder tensor": (
        "autoencoder",
        without("encoderblocks.0.conv.bias"),
        "lacks encoderblocks.0.conv.bias",
    ),
    "no decoder under the head": (
        "autoencoder",
        lambda state: {name: array for name, array in state.items() if "decoderblocks" not in name},
        "no decoderblocks",
    ),
    "an unknown tensor": ("autoencoder", resized("decoder_norm.weight", 32), "'decoder_norm.weight'"),
    "a re-ranker with a kernel": ("retrieval_mixer", resized("mixerblocks.0.conv.weight", 16, 16, 3), "k = 3"),
    "a re-ranker without a bias": ("retrieval_mixer", without("retrieval_head.bias"), "lacks retrieval_head.bias"),
    "a re-ranker with two units": ("retrieval_mixer", resized("retrieval_head.weight", 2, 32), "(1, D)"),
    "a re-ranker with words": ("retrieval_mixer", resized("wte.weight", 9, 32), "'wte.weight'"),
    "one direction only": ("double", without("mixerblocks.1.convr.weight"), "lacks mixerblocks.1.convr.weight"),
    "directions of other length": ("double", resized("mixerblocks.0.convr.weight", 15, 15, 1), "L = 16"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_said(name: str, tmp_path: Path) -> None:
    case, change, message = MISFITS[name]
    with pytest.raises(ConversionError) as caught:
        converted_weights(change(stored(case)), tmp_path, **needed_hints(case))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def poisoned(state: State, part: str, is_kept: Callable[[Any, Any], Any]) -> State:
    """The state with garbage where a mask hides the weights of some convolutions."""
    changed = {}
    for name, array in state.items():
        rows = np.arange(len(array))
        if part in name and array.ndim == 3:
            array = np.where(is_kept(rows[:, None], rows[None])[..., None], array, np.float32(7))
        changed[name] = array
    return changed


@pytest.mark.parametrize(
    ("case", "part", "is_kept"),
    [
        ("double", "convf", lambda t, s: s <= t),
        ("double", "convr", lambda t, s: s >= t + 2),
        ("autoencoder_unroll_k4", "encoderblocks", lambda t, s: s <= t),
        ("autoencoder_unroll_k4", "decoderblocks", lambda t, s: s <= t),
        ("autoencoder_headed_h4", "convs", lambda t, s: s <= t),
    ],
)
def test_what_a_mask_hides_is_never_kept(case: str, part: str, is_kept: Any, tmp_path: Path) -> None:
    (tmp_path / "clean").mkdir()
    (tmp_path / "poisoned").mkdir()
    state, hints = stored(case), needed_hints(case)
    clean = converted_weights(state, tmp_path / "clean", **hints)
    changed = converted_weights(poisoned(state, part, is_kept), tmp_path / "poisoned", **hints)
    for name, array in clean.items():
        np.testing.assert_array_equal(changed[name], array)


def test_stacks_of_other_depths_are_counted_apart(tmp_path: Path) -> None:
    state = stored("autoencoder")
    deeper = renamed({k: v for k, v in state.items() if "decoderblocks" in k}, "decoderblocks.0.", "decoderblocks.1.")
    weights = converted_weights({**state, **deeper}, tmp_path)
    assert {name.split(".")[2] for name in weights if name.startswith("encoder.layers")} == {"0"}
    assert {name.split(".")[1] for name in weights if name.startswith("decoder.")} == {"0", "1"}


def test_the_tied_matrix_of_an_autoencoder_may_be_stored_twice(tmp_path: Path) -> None:
    state = stored("autoencoder")
    state["lm_head.weight"] = state["wte.weight"]
    weights = converted_weights(state, tmp_path)
    assert "encoder.embed_tokens.weight" in weights
    assert "lm_head.weight" not in weights


def test_an_encoder_alone_is_enough_for_an_embedder(tmp_path: Path) -> None:
    state = {name: array for name, array in stored("autoencoder").items() if name.startswith(("wte", "encoderblocks"))}
    assert not any(name.startswith("decoder") for name in converted_weights(state, tmp_path))
