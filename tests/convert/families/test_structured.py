"""Which structured mixer a file holds, what the user must tell, and what becomes of every tensor."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from convert import ConversionReport, convert_checkpoint
from mlx_mixer.checkpoint import load_model
from mlx_mixer.errors import ConversionError, MixerError, UnsupportedModelError, UsageError
from tests.convert.files import State, renamed, write_safetensors
from tests.convert.structured_files import heads, parallel, single, structured_state

Tensors = dict[str, tuple[int, ...]]

# Tensors of a token mixing, and the kinds that write such tensors.
WRITTEN_BY: dict[str, tuple[Tensors, tuple[str, ...]]] = {
    "one vector": (single(), ("row", "col", "toeplitz")),
    "one vector and decay": (single(decay=(1,)), ("row", "col")),
    "two vectors": (single(2), ("combined", "kernel_col")),
    "two vectors and decay": (single(2, decay=(2, 1)), ("combined", "kernel_col")),
    "three vectors": (single(3), ("kernel_col",)),
    "four vectors and decay": (single(4, decay=(2, 1)), ("kernel_col",)),
    "a diagonal": (single(diagonal=(1, 0)), ("diag_row", "diag_col")),
    "a diagonal of one value and decay": (single(decay=(1,), diagonal=(1,)), ("diag_row", "diag_col")),
    "heads": (heads(2), ("mixed_heads", "col_heads")),
    "heads and decay": (heads(4, decay=(1,)), ("mixed_heads",)),
    "heads without projections": (heads(2, has_projections=False), ("mixed_heads",)),
    "heads of two vectors": (heads(2, 2, decay=(2, 1)), ("combined_heads",)),
    "heads with a diagonal": (heads(2, decay=(1,), diagonal=(1,)), ("diag_heads",)),
    "heads in one array": (parallel(2, decay=(2, 1)), ("parallel_heads",)),
}
CHOICES = [(name, kind) for name, (_, kinds) in WRITTEN_BY.items() for kind in kinds]
AMBIGUOUS = [name for name, (_, kinds) in WRITTEN_BY.items() if len(kinds) > 1]


def convert(state: State, folder: Path, **hints: Any) -> ConversionReport:
    write_safetensors(folder / "m.safetensors", state)
    return convert_checkpoint(folder / "m.safetensors", folder / "out", **hints)


def refusal(state: State, folder: Path, error: type[MixerError], **hints: Any) -> str:
    with pytest.raises(error) as caught:
        convert(state, folder, **hints)
    assert "\n" not in str(caught.value)
    assert not (folder / "out").exists()
    return str(caught.value)


@pytest.mark.parametrize(("name", "kind"), CHOICES)
def test_the_hint_chooses_among_the_kinds_that_fit(name: str, kind: str, tmp_path: Path) -> None:
    tensors, kinds = WRITTEN_BY[name]
    report = convert(structured_state(tensors), tmp_path, mixer=kind)
    assert report.family == "srm"
    assert report.config.token_mixing == kind
    assert report.config.decay is any("decay" in tensor for tensor in tensors)
    assert report.parameters == report.config.num_parameters
    assert (report.config.block_order, report.config.activation) == ("channel_then_token", "silu")
    assert load_model(tmp_path / "out")(mx.zeros((1, 6), mx.int32)).shape == (1, 6, 12)
    if len(kinds) == 1:
        assert convert_checkpoint(tmp_path / "m.safetensors", tmp_path / "again").config.token_mixing == kind


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_without_the_hint_one_line_names_it_and_its_values(name: str, tmp_path: Path) -> None:
    tensors, kinds = WRITTEN_BY[name]
    message = refusal(structured_state(tensors), tmp_path, UsageError)
    assert "the hint mixer (--mixer)" in message
    assert message.endswith(f"{', '.join(kinds[:-1])} or {kinds[-1]}")


@pytest.mark.parametrize("name", WRITTEN_BY)
def test_a_hint_that_the_keys_contradict_is_refused(name: str, tmp_path: Path) -> None:
    tensors, kinds = WRITTEN_BY[name]
    message = refusal(structured_state(tensors), tmp_path, ConversionError, mixer="flat")
    assert "mixer=flat" in message
    assert kinds[-1] in message


def decay_constants() -> list[tuple[Tensors, str, int, float]]:
    return [
        (heads(2, decay=(1,)), "mixed_heads", 6, 1.0),
        (heads(2, decay=(1,)), "mixed_heads", 1100, 2.0),
        (single(4, decay=(2, 1)), "kernel_col", 1100, 4.0),
        (single(decay=(1,), diagonal=(1, 0)), "diag_row", 1100, 1.0),
    ]


@pytest.mark.parametrize(("tensors", "kind", "length", "constant"), decay_constants())
def test_a_decay_constant_that_nobody_told_is_upstreams_and_noted(
    tensors: Tensors, kind: str, length: int, constant: float, tmp_path: Path
) -> None:
    report = convert(structured_state(tensors, length=length), tmp_path, mixer=kind)
    assert report.config.decay_constant == constant
    assert any(f"taken to be {constant:g}; if not, give the hint decay_constant" in note for note in report.warnings)


def test_a_decay_constant_that_was_told_is_kept_without_a_note(tmp_path: Path) -> None:
    report = convert(structured_state(heads(2, decay=(1,))), tmp_path, decay_constant=3)
    assert report.config.decay_constant == 3.0
    assert not any("decay" in note for note in report.warnings)


def test_a_decay_constant_for_a_mixer_that_never_forgets_is_noted(tmp_path: Path) -> None:
    report = convert(structured_state(single()), tmp_path, mixer="row", decay_constant=3)
    assert report.config.decay_constant == 1.0
    assert any("the hint decay_constant says nothing" in note for note in report.warnings)


@pytest.mark.parametrize("told", [None, True, False])
def test_projections_of_parallel_heads_are_used_unless_told(told: bool | None, tmp_path: Path) -> None:
    hints = {} if told is None else {"use_projections": told}
    report = convert(structured_state(parallel(2)), tmp_path, **hints)
    assert report.config.use_projections is (told is not False)
    assert any("--no-use-projections" in note for note in report.warnings) is (told is None)


def test_parallel_heads_may_be_stored_without_projections(tmp_path: Path) -> None:
    report = convert(structured_state(parallel(2, has_projections=False)), tmp_path)
    assert report.config.use_projections is False
    assert not any("projections" in note for note in report.warnings)


def token_mixing(state: State, folder: Path, kind: str) -> Any:
    convert(state, folder, mixer=kind)
    return load_model(folder / "out").layers[1].token_mixing


def test_one_diagonal_value_is_spread_over_all_positions(tmp_path: Path) -> None:
    state = structured_state(heads(2, decay=(1,), diagonal=(1,)))
    mixing = token_mixing(state, tmp_path, "diag_heads")
    stored = [state[f"mixer_blocks.1.token_mixing_layer.mixer_heads.{head}.diag_weight"] for head in range(2)]
    np.testing.assert_array_equal(np.array(mixing.diagonal), np.repeat(stored, 6, axis=1))


def test_a_diagonal_of_all_positions_is_kept(tmp_path: Path) -> None:
    state = structured_state(single(diagonal=(1, 0)))
    mixing = token_mixing(state, tmp_path, "diag_col")
    np.testing.assert_array_equal(np.array(mixing.diagonal), state["mixer_blocks.1.token_mixing_layer.diag_weight"])


@pytest.mark.parametrize(
    ("tensors", "kind", "used"),
    [
        (single(3, decay=(2, 1)), "kernel_col", [[1]]),
        (single(2, decay=(2, 1)), "combined", [[0, 1]]),
        (single(decay=(2, 1), diagonal=(1, 0)), "diag_row", [[1]]),
        (parallel(2, decay=(2, 1)), "parallel_heads", [[1]]),
    ],
)
def test_of_two_decays_the_used_ones_are_kept(
    tensors: Tensors, kind: str, used: list[list[int]], tmp_path: Path
) -> None:
    state = structured_state(tensors)
    mixing = token_mixing(state, tmp_path, kind)
    (name,) = (tensor for tensor in tensors if tensor.endswith("decay_value"))
    stored = state[f"mixer_blocks.1.token_mixing_layer.{name}"][:, 0]
    np.testing.assert_array_equal(np.array(mixing.decay), stored[used])


@pytest.mark.parametrize("lost", ["input_layer.weight", "output_layer.weight", None])
def test_a_tied_matrix_may_have_either_name_or_both(lost: str | None, tmp_path: Path) -> None:
    state = structured_state(single(), is_tied=True)
    matrix = state["input_layer.weight"]
    state.pop(lost or "", None)
    report = convert(state, tmp_path, mixer="row")
    assert report.config.tie_word_embeddings
    np.testing.assert_array_equal(np.array(load_model(tmp_path / "out").embed_tokens.weight), matrix)


def test_an_odd_number_of_mixed_heads_is_refused(tmp_path: Path) -> None:
    assert "even number of heads" in refusal(structured_state(heads(1, decay=(1,))), tmp_path, ConversionError)


def test_heads_must_fill_the_width(tmp_path: Path) -> None:
    state = structured_state(heads(2, decay=(1,)))
    for name in [name for name in state if "proj_head" in name]:
        state[name] = np.ascontiguousarray(state[name][:3])
    assert "2 heads of width 3 do not make the model width 8" in refusal(state, tmp_path, ConversionError)


@pytest.mark.parametrize(
    ("state", "family"),
    [
        (renamed(structured_state(single()), "token_mixing_layer.", "token_mixing_layer.0."), "srm_expanded"),
        (renamed(structured_state(single()), "token_mixing_layer.weight", "token_mixing_layer.strange"), "srm"),
        ({**structured_state(single()), "reward_head.weight": np.ones((1, 8), np.float32)}, "srm_reward"),
        (renamed(structured_state(single()), "mixer_blocks", "encoderblocks"), "srm_autoencoder"),
    ],
)
def test_other_structured_models_are_refused_by_name(state: State, family: str, tmp_path: Path) -> None:
    if family == "srm_autoencoder":
        state = renamed(renamed(state, "input_layer", "wte"), "output_layer", "lm_head")
    assert refusal(state, tmp_path, UnsupportedModelError, mixer="row").endswith(f"(family {family})")


def test_softmax_is_refused_here_too(tmp_path: Path) -> None:
    state = structured_state(single())
    assert "softmax" in refusal(state, tmp_path, UnsupportedModelError, mixer="softmax")
