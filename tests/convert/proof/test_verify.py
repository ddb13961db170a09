"""A conversion is compared with its source, and one that differs is refused."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from convert import convert_checkpoint
from convert.hints import Hints
from convert.plan import Plan, plan_conversion
from convert.proof.inputs import MOST_VALUES, POSITIONS, WINDOW, fixed_inputs, window_noise
from convert.proof.rules import DTYPE_TOLERANCES
from convert.proof.text import TEXT
from convert.proof.verify import VerifyReport, verify_conversion
from convert.sources.containers import open_checkpoint
from mlx_mixer.checkpoint import load_config, load_model, save_model
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.errors import ConversionError
from mlx_mixer.model_configs.retrieval import RetrievalMixerConfig
from mlx_mixer.models.language import LanguageMixer, next_token_loss
from mlx_mixer.quantization import cast_model, quantize_model
from tests.convert.files import flat_state, write_safetensors
from tests.convert.golden import CASES, checkpoint, needed_hints
from tests.convert.structured_files import heads, parallel, single, structured_state

Weights = dict[str, npt.NDArray[Any]]

CONVERTIBLE = [name for name, case in CASES.items() if "io" in case]
# One case of every form.
FORMS = [
    "flat_unmasked",
    "flat_tied",
    "expanded_x2",
    "kernel4",
    "headed_h4",
    "headed_legacy_h2",
    "autoencoder_c4",
    "autoencoder_unroll_k4",
    "infonce_autoencoder",
    "retrieval_mixer",
    "double",
    "near_linear",
    "linear",
    "srm_row",
    "srm_mixed_decay_c2",
    "srm_combined_decay",
    "srm_parallel_decay",
    "srm_kernel4_decay",
    "srm_toeplitz",
]
LONG = POSITIONS + 8  # a window beyond the compared ids
STRUCTURED = {
    "row": (single(decay=(1,)), {"decay_constant": 2}),
    "col": (single(), {}),
    "toeplitz": (single(), {}),
    "combined": (single(2, decay=(2, 1)), {"decay_constant": 4}),
    "kernel_col": (single(3, decay=(2, 1)), {"decay_constant": 2}),
    "diag_row": (single(decay=(1,), diagonal=(1, 0)), {}),
    "diag_col": (single(diagonal=(1,)), {}),
    "mixed_heads": (heads(2, decay=(1,), has_projections=False), {}),
    "col_heads": (heads(2), {}),
    "combined_heads": (heads(2, 2), {}),
    "diag_heads": (heads(4, decay=(1,), diagonal=(1,)), {"decay_constant": 2}),
    "parallel_heads": (parallel(2, decay=(2, 1)), {"use_projections": False}),
}


def verified(folder: Path, source: Path, *, quantized: bool = False, **hints: Any) -> VerifyReport:
    with open_checkpoint(source) as opened:
        plan = plan_conversion(opened, source, Hints.from_mapping(hints))
        return verify_conversion(folder, opened, plan, quantized=quantized)


def refusal(folder: Path, source: Path, **given: Any) -> str:
    with pytest.raises(ConversionError) as caught:
        verified(folder, source, **given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def changed(folder: Path, change: Callable[[Weights], Weights]) -> Path:
    """The folder with other weights."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    altered = change(weights)
    assert any(not np.array_equal(altered[name], weights[name]) for name in weights)
    save_file({name: np.ascontiguousarray(array) for name, array in altered.items()}, file, {"format": "mlx"})
    return folder


def one_element(name: str, place: tuple[int, ...]) -> Callable[[Weights], Weights]:
    """One value of one tensor, changed by a tenth of the largest."""

    def change(weights: Weights) -> Weights:
        array = weights[name].copy()
        array[place] += np.abs(array).max() / 10
        return {**weights, name: array}

    return change


@pytest.mark.parametrize("name", CONVERTIBLE)
def test_every_family_equals_its_source(name: str, tmp_path: Path) -> None:
    hints = needed_hints(name)
    convert_checkpoint(checkpoint(name), tmp_path / "out", **hints, verify=False)
    report = verified(tmp_path / "out", checkpoint(name), **hints)
    assert 0 < report.max_error < report.tolerance / 10
    assert report.positions == CASES[name]["config"]["seq_len"]


def test_an_encoder_alone_equals_its_source(tmp_path: Path) -> None:
    with open_checkpoint(checkpoint("autoencoder_headed_h4")) as opened:
        state = {name: opened.read(name) for name in opened.tensors if name.startswith(("wte", "encoderblocks"))}
    source = write_safetensors(tmp_path / "m.safetensors", state)
    convert_checkpoint(source, tmp_path / "out", verify=False)
    report = verified(tmp_path / "out", source)
    assert 0 < report.max_error < report.tolerance / 10
    assert report.perplexity_source is None


@pytest.mark.parametrize("kind", STRUCTURED)
def test_every_structured_mixer_equals_its_source_over_the_whole_window(kind: str, tmp_path: Path) -> None:
    tensors, hints = STRUCTURED[kind]
    source = write_safetensors(tmp_path / "m.safetensors", structured_state(tensors, length=LONG))
    convert_checkpoint(source, tmp_path / "out", mixer=kind, **hints, verify=False)
    report = verified(tmp_path / "out", source, mixer=kind, **hints)
    assert 0 < report.max_error < report.tolerance
    assert report.positions == POSITIONS


@pytest.mark.parametrize("name", FORMS)
def test_any_tensor_with_the_wrong_sign_is_found(name: str, tmp_path: Path) -> None:
    hints = needed_hints(name)
    convert_checkpoint(checkpoint(name), tmp_path / "out", **hints, verify=False)
    right = load_file(tmp_path / "out" / "model.safetensors")
    has_second_block = any(".1." in target for target in right)
    for wrong in right:
        if ".0." in wrong and has_second_block:
            continue  # of the blocks, the last
        changed(tmp_path / "out", lambda _, wrong=wrong: {**right, wrong: -right[wrong]})  # type: ignore[misc]
        assert "is not its source" in refusal(tmp_path / "out", checkpoint(name), **hints), wrong


def transposed(weights: Weights) -> Weights:
    """The first mixing matrix, or the first map, with its axes exchanged."""
    return {
        name: array.swapaxes(-1, -2) if array.ndim > 1 and array.shape[-1] == array.shape[-2] else array
        for name, array in weights.items()
    }


def swapped_layers(weights: Weights) -> Weights:
    """The first two layers in each other's place."""
    places = {"layers.0.": "layers.1.", "layers.1.": "layers.0."}
    return {
        next((new + name.removeprefix(old) for old, new in places.items() if name.startswith(old)), name): array
        for name, array in weights.items()
    }


def strictly_causal(weights: Weights) -> Weights:
    """A mask that is off by one: no position reads itself."""
    return {
        name: np.tril(array, -1) if name.endswith("mixing.weight") and array.shape[-1] == array.shape[-2] else array
        for name, array in weights.items()
    }


def reversed_heads(weights: Weights) -> Weights:
    """Heads, or taps, in the wrong order."""
    return {name: array[::-1] if name.endswith("token_mixing.weight") else array for name, array in weights.items()}


def with_a_repeated_row(weights: Weights) -> Weights:
    """One mixing matrix whose last row is that of the position before."""
    altered = {name: array.copy() for name, array in weights.items()}
    name = min(name for name in altered if re.search(r"mixing\.(inner_)?weight$", name))
    altered[name][..., -1, :-1] = altered[name][..., -2, :-1]
    return altered


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("flat", transposed),
        ("headed_h4", transposed),
        ("retrieval_mixer", transposed),
        ("double", transposed),
        ("flat", swapped_layers),
        ("near_linear", swapped_layers),
        ("retrieval_mixer", swapped_layers),
        ("double", swapped_layers),
        ("srm_row", swapped_layers),
        ("srm_parallel_decay", swapped_layers),
        ("flat_unmasked", strictly_causal),
        ("kernel4", strictly_causal),
        ("autoencoder_headed_h4", strictly_causal),
        ("double", strictly_causal),
        ("kernel4", reversed_heads),
        ("headed_h4", reversed_heads),
        ("srm_mixed", reversed_heads),
        ("flat", with_a_repeated_row),
        ("headed_legacy_h2", with_a_repeated_row),
        ("retrieval_mixer", with_a_repeated_row),
    ],
)
def test_tensors_in_a_wrong_place_are_found(name: str, change: Callable[[Weights], Weights], tmp_path: Path) -> None:
    hints = needed_hints(name)
    convert_checkpoint(checkpoint(name), tmp_path / "out", **hints, verify=False)
    changed(tmp_path / "out", change)
    assert "is not its source" in refusal(tmp_path / "out", checkpoint(name), **hints)


def test_a_wrong_choice_of_structure_is_found(tmp_path: Path) -> None:
    """The source is read as what the plan says it is; the folder says otherwise."""
    source = write_safetensors(tmp_path / "m.safetensors", structured_state(single(), length=LONG))
    convert_checkpoint(source, tmp_path / "out", mixer="row", verify=False)
    assert "is not its source" in refusal(tmp_path / "out", source, mixer="col")


def test_a_mistake_in_a_table_ends_the_conversion_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*given: Any) -> Plan:
        """A plan whose mixing matrices are written with their axes exchanged."""
        plan = plan_conversion(*given)
        assignments = (
            replace(entry, transform=lambda arrays: np.tril(arrays[0].transpose(2, 1, 0)))
            if entry.target.endswith("token_mixing.weight")
            else entry
            for entry in plan.assignments
        )
        return replace(plan, assignments=tuple(assignments))

    monkeypatch.setattr("convert.convert.plan_conversion", mistaken)
    with pytest.raises(ConversionError, match="is not its source: logits differ"):
        convert_checkpoint(checkpoint("flat_unmasked"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    assert convert_checkpoint(checkpoint("flat_unmasked"), tmp_path / "out", verify=False).verification is None


def test_a_conversion_reports_its_proof(tmp_path: Path) -> None:
    proof = convert_checkpoint(checkpoint("flat"), tmp_path / "out").verification
    assert proof == verified(tmp_path / "out", checkpoint("flat"))


@pytest.fixture
def long(tmp_path: Path) -> tuple[Path, Path]:
    """A converted model whose window is longer than the compared ids, and its source."""
    source = write_safetensors(tmp_path / "m.safetensors", flat_state(length=LONG, vocab=4 * LONG))
    convert_checkpoint(source, tmp_path / "out", verify=False)
    return tmp_path / "out", source


def test_a_window_longer_than_the_ids_equals_its_source(long: tuple[Path, Path]) -> None:
    report = verified(*long)
    assert 0 < report.max_error < report.tolerance / 10
    assert report.positions == POSITIONS


@pytest.mark.parametrize(
    ("name", "place", "found"),
    [
        ("layers.1.token_mixing.weight", (0, LONG - 1, 0), "results of mixerblocks.1 differ"),
        ("layers.0.token_mixing.bias", (LONG - 1,), "results of mixerblocks.0 differ"),
        ("layers.0.token_mixing.weight", (0, 3, 2), "logits differ"),
        ("lm_head.weight", (4 * LONG - 1, 0), "logits differ"),
    ],
)
def test_one_wrong_value_is_found_where_it_is(
    name: str, place: tuple[int, ...], found: str, long: tuple[Path, Path]
) -> None:
    changed(long[0], one_element(name, place))
    assert found in refusal(*long)


def test_a_wrong_vector_of_a_token_that_no_text_used_is_found(long: tuple[Path, Path]) -> None:
    used = set(fixed_inputs(long[0], load_config(long[0])).ravel().tolist())
    unused = next(index for index in range(4 * LONG) if index not in used)
    changed(long[0], one_element("embed_tokens.weight", (unused, 0)))
    assert "token vectors differ" in refusal(*long)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_numbers_are_refused(value: float, long: tuple[Path, Path]) -> None:
    changed(long[0], lambda weights: {**weights, "lm_head.weight": np.full_like(weights["lm_head.weight"], value)})
    assert "NaN or infinite" in refusal(*long)


def test_perplexity_is_that_of_the_models_own_loss(long: tuple[Path, Path]) -> None:
    report = verified(*long)
    model = load_model(long[0])
    assert isinstance(model, LanguageMixer)
    loss = next_token_loss(model, mx.array(fixed_inputs(long[0], model.config))).item()
    assert report.perplexity_converted == pytest.approx(math.exp(loss), rel=1e-5)
    assert report.perplexity_source == pytest.approx(math.exp(loss), rel=1e-5)


def test_with_a_tokenizer_perplexity_is_that_of_a_text(tmp_path: Path) -> None:
    words = {word: index for index, word in enumerate(["?", *dict.fromkeys(TEXT.split())])}
    tokenizer = Tokenizer(models.WordLevel(words, "?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    source = write_safetensors(tmp_path / "m.safetensors", flat_state(length=LONG, vocab=len(words)))
    convert_checkpoint(source, tmp_path / "out", tokenizer=tmp_path / "tokenizer.json", verify=False)
    model = load_model(tmp_path / "out")
    assert isinstance(model, LanguageMixer)
    ids = [[words[word] for word in TEXT.split()[:POSITIONS]]]
    report = verified(tmp_path / "out", source)
    assert report.perplexity_source == pytest.approx(math.exp(next_token_loss(model, mx.array(ids)).item()), rel=1e-5)


@pytest.mark.parametrize("name", ["retrieval_mixer", "infonce_autoencoder"])
def test_models_that_predict_no_tokens_have_no_perplexity(name: str, tmp_path: Path) -> None:
    convert_checkpoint(checkpoint(name), tmp_path / "out", verify=False)
    report = verified(tmp_path / "out", checkpoint(name))
    assert report.perplexity_source is None
    assert report.perplexity_converted is None


def all_maps_negated(weights: Weights) -> Weights:
    return {name: -array if name.endswith("down.weight") else array for name, array in weights.items()}


def test_a_small_file_that_asks_for_a_long_window_is_compared_on_a_bounded_one(tmp_path: Path) -> None:
    source = write_safetensors(tmp_path / "m.safetensors", structured_state(single(), length=1 << 16))
    convert_checkpoint(source, tmp_path / "out", mixer="row", verify=False)
    config = load_config(tmp_path / "out")
    assert window_noise(config).shape == (1, WINDOW, 8)
    report = verified(tmp_path / "out", source, mixer="row")
    assert report.positions == POSITIONS


def test_a_wide_model_is_compared_on_fewer_positions(tmp_path: Path) -> None:
    config = RetrievalMixerConfig(hidden_size=1 << 20, num_layers=1, context_length=512, intermediate_size=1)
    assert fixed_inputs(tmp_path, config).size == MOST_VALUES
    words = LanguageMixerConfig(
        vocab_size=1 << 20, hidden_size=8, num_layers=1, context_length=512, intermediate_size=8
    )
    assert fixed_inputs(tmp_path, words).shape == (1, 4)


def stored_as(folder: Path, out: Path, how: mx.Dtype | int) -> Path:
    """The model of a folder in another dtype, or quantised to a number of bits."""
    model = load_model(folder)
    quantize_model(model, how) if isinstance(how, int) else cast_model(model, how)
    out.mkdir()
    save_model(out, model)
    return out


@pytest.mark.parametrize(
    "name", ["flat", "kernel4", "headed_h4", "autoencoder", "retrieval_mixer", "double", "srm_row"]
)
@pytest.mark.parametrize(("dtype", "stored"), [(mx.float16, "F16"), (mx.bfloat16, "BF16")])
def test_half_precision_is_allowed_its_rounding(name: str, dtype: mx.Dtype, stored: str, tmp_path: Path) -> None:
    hints = needed_hints(name)
    convert_checkpoint(checkpoint(name), tmp_path / "full", **hints, verify=False)
    report = verified(stored_as(tmp_path / "full", tmp_path / "half", dtype), checkpoint(name), **hints)
    assert report.tolerance == DTYPE_TOLERANCES[stored]
    assert DTYPE_TOLERANCES["F32"] < report.max_error < report.tolerance
    changed(
        tmp_path / "full",
        lambda weights: {name: -array if array.ndim > 1 else array for name, array in weights.items()},
    )
    wrong = stored_as(tmp_path / "full", tmp_path / "wrong", dtype)
    assert "is not its source" in refusal(wrong, checkpoint(name), **hints)


@pytest.mark.parametrize(
    "name", ["flat", "kernel4", "headed_h4", "autoencoder", "retrieval_mixer", "double", "srm_row"]
)
@pytest.mark.parametrize("bits", [8, 4])
def test_quantised_models_are_allowed_more(name: str, bits: int, tmp_path: Path) -> None:
    hints = needed_hints(name)
    convert_checkpoint(checkpoint(name), tmp_path / "full", **hints, verify=False)
    quantised = stored_as(tmp_path / "full", tmp_path / "quantised", bits)
    report = verified(quantised, checkpoint(name), quantized=True, **hints)
    assert DTYPE_TOLERANCES["F16"] < report.max_error < report.tolerance
    changed(tmp_path / "full", all_maps_negated)
    wrong = stored_as(tmp_path / "full", tmp_path / "wrong", bits)
    assert "is not its source" in refusal(wrong, checkpoint(name), quantized=True, **hints)


@pytest.mark.parametrize("name", ["flat", "kernel4", "expanded_bias", "retrieval_mixer", "double"])
def test_mixing_matrices_are_not_quantised_and_held_to_the_rule_of_their_dtype(name: str, tmp_path: Path) -> None:
    convert_checkpoint(checkpoint(name), tmp_path / "full", verify=False)
    changed(tmp_path / "full", with_a_repeated_row)
    wrong = stored_as(tmp_path / "full", tmp_path / "wrong", 4)
    assert "results of mixerblocks.0" in refusal(wrong, checkpoint(name), quantized=True)


def test_an_absurd_perplexity_after_quantising_is_refused(tmp_path: Path) -> None:
    """Logits a third too large are near enough at 4 bits, but the model would be far too sure of itself."""
    convert_checkpoint(checkpoint("flat"), tmp_path / "full", verify=False)
    changed(tmp_path / "full", lambda weights: {**weights, "lm_head.weight": 1.33 * weights["lm_head.weight"]})
    wrong = stored_as(tmp_path / "full", tmp_path / "wrong", 4)
    assert "perplexity is" in refusal(wrong, checkpoint("flat"), quantized=True)
