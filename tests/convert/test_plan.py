"""What is recognised, what is inferred, and what does not fit together."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.hints import Hints
from convert.plan import Plan, plan_conversion
from convert.sources.containers import open_checkpoint
from mlx_mixer.errors import ConversionError, MixerError, UnsupportedModelError
from tests.convert.files import flat_state, renamed, write_safetensors, write_torch
from tests.convert.golden import CASES, checkpoint, needed_hints

BLOCK = "mixerblocks.1"


def planned(state: dict[str, Any], folder: Path, name: str = "m.safetensors", **hints: Any) -> Plan:
    write = write_safetensors if name.endswith("safetensors") else write_torch
    with open_checkpoint(write(folder / name, state)) as opened:
        return plan_conversion(opened, folder / name, Hints(**hints))


def refusal(state: dict[str, Any], folder: Path, error: type[MixerError] = ConversionError, **more: Any) -> str:
    with pytest.raises(error) as caught:
        planned(state, folder, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def changed(**arrays: Any) -> dict[str, Any]:
    """The flat state with tensors of block 1 replaced; underscores stand for dots, None removes."""
    state: dict[str, Any] = flat_state()
    for name, array in arrays.items():
        key = f"{BLOCK}.{name.replace('__', '.')}"
        if array is None:
            del state[key]
        else:
            state[key] = np.asarray(array, np.float32)
    return state


def test_sizes_come_from_shapes(tmp_path: Path) -> None:
    config = planned(flat_state(vocab=13, dims=4, length=7, layers=3, inner=10), tmp_path).config
    assert (config.vocab_size, config.hidden_size, config.context_length) == (13, 4, 7)
    assert (config.num_layers, config.intermediate_size) == (3, 10)


MISFITS: dict[str, tuple[dict[str, Any], str]] = {
    "non-square conv": (
        changed(conv__weight=np.ones((6, 5, 1))),
        r"conv.weight has shape (6, 5, 1); expected (L, L, k)",
    ),
    "another length": (changed(conv__weight=np.ones((7, 7, 1)), conv__bias=np.ones(7)), "L = 6"),
    "another kernel": (changed(conv__weight=np.ones((6, 6, 3))), "k = 1"),
    "a linear layer beside a kernel": (
        {**changed(conv__weight=np.ones((6, 6))), "mixerblocks.0.conv.weight": np.ones((6, 6, 3), np.float32)},
        "k = 3",
    ),
    "four axes": (changed(conv__weight=np.ones((6, 6, 1, 1))), "expected (L, L, k) or (L, L)"),
    "a short bias": (changed(conv__bias=np.ones(5)), "L = 6"),
    "a wide norm": (changed(seq_layernorm__weight=np.ones(9)), "D = 8"),
    "a feed-forward that does not close": (changed(patch_ff__2__weight=np.ones((8, 15))), "F = 16"),
    "a context of nothing": (flat_state(length=0), "expected (L, L, k)"),
    "an empty tensor": (changed(patch_ff__0__bias=np.ones(0)), "expected (F)"),
    "a missing tensor": (changed(patch_ff__2__bias=None), "lacks mixerblocks.1.patch_ff.2.bias"),
    "an unknown tensor": (changed(attn_bias=np.ones(3)), "unknown tensors"),
    "both dropout forms": (changed(patch_ff__3__bias=np.ones(8)), "unknown tensors"),
    "a missing first block": (renamed(flat_state(), "mixerblocks.0.", "mixerblocks.2."), "block 0 is missing"),
    "a missing block": (renamed(flat_state(layers=3), "mixerblocks.1.", "mixerblocks.7."), "block 1 is missing"),
    "a head of other width": (
        {**flat_state(), "lm_head.weight": np.ones((12, 9), np.float32)},
        "lm_head.weight has shape",
    ),
    "a head of other vocabulary": ({**flat_state(), "lm_head.weight": np.ones((11, 8), np.float32)}, "V = 12"),
    "a final norm": ({**flat_state(), "norm.weight": np.ones(8, np.float32)}, "'norm.weight'"),
    "a leading zero": (renamed(flat_state(), "mixerblocks.1.", "mixerblocks.01."), "unknown tensors"),
    "whole numbers": ({**flat_state(), "wte.weight": np.ones((12, 8), np.int64)}, "I64"),
    "a flag": ({**flat_state(), "mask": np.ones(3, bool)}, "BOOL"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_said(name: str, tmp_path: Path) -> None:
    state, message = MISFITS[name]
    assert message in refusal(state, tmp_path)


def test_both_forms_of_one_tap_fit_together(tmp_path: Path) -> None:
    assert planned(changed(conv__weight=np.ones((6, 6))), tmp_path).config.kernel_size == 1


def test_unused_and_shifted_tensors_are_known(tmp_path: Path) -> None:
    state: dict[str, Any] = {**flat_state(), "wte_second.weight": np.ones((8, 8), np.float32)}
    assert planned(state, tmp_path).config == planned(flat_state(), tmp_path).config
    shifted = planned(renamed(flat_state(), "patch_ff.2", "patch_ff.3"), tmp_path)
    assert shifted.config == planned(flat_state(), tmp_path).config
    assert any("mixerblocks.1.patch_ff.3.weight" in entry.stored for entry in shifted.assignments)


@pytest.mark.parametrize("kept", ["wte.weight", "lm_head.weight"])
def test_a_tied_matrix_may_have_either_name(kept: str, tmp_path: Path) -> None:
    (lost,) = {"wte.weight", "lm_head.weight"} - {kept}
    state = {name: array for name, array in flat_state().items() if name != lost}
    plan = planned(state, tmp_path)
    assert plan.config.tie_word_embeddings
    assert [entry.stored for entry in plan.assignments if entry.target == "embed_tokens.weight"] == [(kept,)]
    assert not any(entry.target == "lm_head.weight" for entry in plan.assignments)


def test_a_tied_matrix_may_be_stored_twice(tmp_path: Path) -> None:
    state = flat_state()
    state["lm_head.weight"] = state["wte.weight"]
    assert planned(state, tmp_path, "m.bin").config.tie_word_embeddings
    assert planned(state, tmp_path).config.tie_word_embeddings
    assert not planned(flat_state(), tmp_path).config.tie_word_embeddings


def test_neither_matrix_is_too_little(tmp_path: Path) -> None:
    state = {name: array for name, array in flat_state().items() if name not in ("wte.weight", "lm_head.weight")}
    assert "lacks wte.weight" in refusal(state, tmp_path)


def loaded(name: str) -> dict[str, Any]:
    with open_checkpoint(checkpoint(name)) as opened:
        return {key: opened.read(key) for key in opened.tensors}


def test_expanded_convolutions_have_both_biases_or_none(tmp_path: Path) -> None:
    state = loaded("expanded_bias")
    for layer in range(2):
        del state[f"mixerblocks.{layer}.conv.0.bias"]
    assert "only one of the two" in refusal(state, tmp_path)
    del state["mixerblocks.0.conv.2.bias"]
    assert "lacks mixerblocks.0.conv.2.bias" in refusal(state, tmp_path)


def test_an_expansion_below_one_is_inferred(tmp_path: Path) -> None:
    state = loaded("expanded_nobias")
    for layer in range(2):
        block = f"mixerblocks.{layer}.conv"
        state[f"{block}.0.weight"] = np.ascontiguousarray(state[f"{block}.0.weight"][:9])
        state[f"{block}.2.weight"] = np.ascontiguousarray(state[f"{block}.2.weight"][:, :9])
    config = planned(state, tmp_path).config
    assert (config.inner_length, config.context_length) == (9, 24)


HEADS: dict[str, tuple[str, Any, str]] = {
    "narrow projections": ("proj_head.{j}.weight", lambda a: a[:4], "expected (P) with P = 4"),
    "a missing convolution": ("convs.2.weight", None, "lacks mixerblocks.0.conv.convs.2.weight"),
    "a missing projection": ("proj_head.3.bias", None, "lacks mixerblocks.0.conv.proj_head.3.bias"),
    "a convolution of other length": ("convs.1.weight", lambda a: a[:15, :15], "L = 16"),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_that_do_not_fit_are_refused(name: str, tmp_path: Path) -> None:
    part, change, message = HEADS[name]
    state = loaded("headed_h4")
    for layer in range(2):
        for head in range(4) if "{j}" in part else (None,):
            key = f"mixerblocks.{layer}.conv.{part.replace('{j}', str(head))}"
            array = state.pop(key)
            if change is not None:
                state[key] = np.ascontiguousarray(change(array))
    assert message in refusal(state, tmp_path)


def test_heads_must_fill_the_width(tmp_path: Path) -> None:
    state = loaded("headed_h4")
    for key in list(state):
        if "proj_head" in key:
            state[key] = np.ascontiguousarray(state[key][:4])
    assert "4 heads of width 4 do not make the model width 32" in refusal(state, tmp_path)


def test_legacy_output_blocks_must_fit_the_heads(tmp_path: Path) -> None:
    state = loaded("headed_legacy_h2")
    for layer in range(2):
        key = f"mixerblocks.{layer}.mixerhead.out_proj.weight"
        state[key] = np.ascontiguousarray(state[key][:, :48])
    assert "48" in refusal(state, tmp_path)


def test_single_heads_are_ordinary_heads(tmp_path: Path) -> None:
    """One head with a full-width projection is what the newest generation of heads does with one head."""
    state = {
        key.replace("convs.3", "convs.0"): array
        for key, array in loaded("headed_h4").items()
        if "proj_head" not in key and "convs.0" not in key and "convs.1" not in key and "convs.2" not in key
    }
    for layer in range(2):
        state[f"mixerblocks.{layer}.conv.proj_head.0.weight"] = np.ones((32, 32), np.float32)
        state[f"mixerblocks.{layer}.conv.proj_head.0.bias"] = np.ones(32, np.float32)
    config = planned(renamed(state, ".conv.", ".mixerhead."), tmp_path).config
    assert (config.token_mixing, config.num_heads) == ("headed", 1)


UNSUPPORTED: dict[str, tuple[dict[str, Any], str]] = {
    "position column": (changed(), "posencoding"),
    "parallel": (renamed(flat_state(), "conv.", "parallelconvs.convs.0."), "mobius"),
    "linear feed-forward": (renamed(flat_state(), "patch_ff.2", "patch_ff.1"), "linear_ff"),
    "linear fineweb": (renamed(flat_state(), "patch_ff.2", "patch_ff"), "linear_fineweb"),
    "reward": (
        {**renamed(flat_state(), "wte", "input_layer"), "reward_head.weight": np.ones((1, 8), np.float32)},
        "reward",
    ),
    "frozen memory": (renamed(flat_state(), "wte", "encoder.model_wte"), "memory"),
    "transformer": (renamed(flat_state(), ".conv.", ".self_attn.q_proj."), "mlx-lm runs those"),
    "our own": (renamed(flat_state(), "wte", "embed_tokens"), "needs no conversion"),
    "anything": ({"encoder.weight": np.ones(3, np.float32)}, "no known masked-mixer family"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_other_architectures_are_refused_by_name(name: str, tmp_path: Path) -> None:
    state, message = UNSUPPORTED[name]
    if name == "position column":
        state = {key: np.ones(9, np.float32) if "layernorm" in key else array for key, array in state.items()}
    assert message in refusal(state, tmp_path, UnsupportedModelError)


def test_data_files_are_not_models(tmp_path: Path) -> None:
    vectors = np.ones((3, 8), np.float32)
    assert "embeddings of texts" in refusal({"query": vectors, "target": vectors}, tmp_path)
    assert "token ids" in refusal({"text": np.arange(5), "summary": np.arange(5)}, tmp_path)


@pytest.mark.parametrize("run", ["tinystories_512_softmax", "mixer_2soft_c512", "x_soft", "softmax-run"])
def test_a_run_named_after_its_weights_needs_a_word_from_the_user(run: str, tmp_path: Path) -> None:
    """Softmax over the weights leaves no trace in a file; only names tell, and the name of this test must not."""
    folder = tmp_path / run
    folder.mkdir()
    assert "hint mixer='flat' (--mixer flat)" in refusal(flat_state(), folder, UnsupportedModelError)
    assert "softmax" in refusal(flat_state(), tmp_path, UnsupportedModelError, mixer="softmax")
    assert planned(flat_state(), folder, mixer="flat").family.name == "flat"


@pytest.mark.parametrize("run", ["software_docs", "softly", "microsoft", "soft"])
def test_other_run_names_are_fine(run: str, tmp_path: Path) -> None:
    (tmp_path / run).mkdir()
    assert planned(flat_state(), tmp_path / run).family.name == "flat"


def test_a_hint_that_contradicts_the_keys_is_refused(tmp_path: Path) -> None:
    assert "mixer=expanded" in refusal(flat_state(), tmp_path, mixer="expanded")


def test_hints_that_say_nothing_here_are_noted(tmp_path: Path) -> None:
    notes = planned(flat_state(), tmp_path, decay_constant=2, use_projections=False).notes
    assert [note.split()[2] for note in notes] == ["decay_constant", "use_projections"]


def test_ids_outside_the_vocabulary_are_refused(tmp_path: Path) -> None:
    assert "pad_token_id is 12" in refusal(flat_state(), tmp_path, pad_token_id=12)
    assert "embedding_position is -7" in refusal(flat_state(), tmp_path, embedding_position=-7)


@pytest.mark.parametrize("name", [name for name in CASES if "io" in CASES[name]])
def test_every_parameter_is_assigned_once(name: str) -> None:
    with open_checkpoint(checkpoint(name)) as opened:
        plan = plan_conversion(opened, checkpoint(name), Hints(**needed_hints(name)))
    targets = [entry.target for entry in plan.assignments]
    assert len(set(targets)) == len(targets)
