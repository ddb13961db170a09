"""Quantised and half-precision models compute what their weights say, in every way a model is run."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_lm
import numpy as np
import pytest
from mlx import nn
from mlx.utils import tree_flatten
from safetensors.numpy import load_file

from mlx_mixer.batch_generation import generate_batch
from mlx_mixer.checkpoint import (
    load_config,
    load_language_model,
    load_model,
    load_tokenizer,
    save_model,
    write_checkpoint,
)
from mlx_mixer.embedding import load_embedder
from mlx_mixer.errors import CheckpointError, ConfigError, UsageError
from mlx_mixer.generation import generate_tokens
from mlx_mixer.quantization import BITS, cast_model, choose_quantization, quantize_model
from mlx_mixer.text import SamplingSettings, stream_generate
from tests.tiny import FORMS, STRUCTURED, TOEPLITZ, tiny_config, tiny_model, tiny_model_folder
from tests.tiny_kinds import CONFIGS, autoencoding_config, bidirectional_config, model_of, retrieval_config

WIDE = {"hidden_size": 64, "intermediate_size": 96}
SOME_FORMS = {
    **{name: FORMS[name] for name in ("flat", "tied", "kernel3", "expanded", "headed", "projected", "linear")},
    **{name: STRUCTURED[name] for name in ("row_decay", "combined_decay", "mixed_heads_decay", "parallel_slices")},
    **TOEPLITZ,
}
IDS = mx.array([[5, 11, 60, 2, 33, 7, 41, 0, 19]])


def greedy(model: Any, prompt: list[int], count: int) -> list[int]:
    steps = generate_tokens(model, prompt, sampler=lambda logprobs: mx.argmax(logprobs, axis=-1))
    return [step.token_id for step in islice(steps, count)]


def by_full_passes(model: Any, prompt: list[int], count: int) -> list[int]:
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(mx.argmax(model(mx.array([ids]))[0, -1].astype(mx.float32)).item()))
    return ids[len(prompt) :]


def quantised_folder(folder: Path, *, bits: int = 4, dtype: mx.Dtype = mx.float32, **changes: Any) -> Path:
    """A model folder whose weights are quantised, with a tokenizer."""
    tiny_model_folder(folder, **{**WIDE, **changes})
    model = load_model(folder, as_stored=True)
    cast_model(model, dtype)
    quantize_model(model, bits)
    save_model(folder, model)
    return folder


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("form", SOME_FORMS)
def test_quantised_weights_and_unpacked_ones_give_the_same(form: str, bits: int, tmp_path: Path) -> None:
    folder = quantised_folder(tmp_path / "m", bits=bits, **SOME_FORMS[form])
    held, unpacked = load_model(folder, as_stored=True), load_model(folder, as_stored=False)
    assert any(isinstance(module, nn.QuantizedLinear | nn.QuantizedEmbedding) for _, module in held.named_modules())
    assert {array.dtype for _, array in tree_flatten(unpacked.parameters())} == {mx.float32}
    want = np.array(unpacked(IDS))
    np.testing.assert_allclose(np.array(held(IDS)), want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


# Each graph of a decode step is compiled anew, which takes seconds on a CPU: one form per kind of cache.
@pytest.mark.parametrize("form", ["tied", "row_decay"])
def test_decoding_a_quantised_model_equals_one_full_pass(form: str) -> None:
    model = tiny_model(**{**WIDE, **SOME_FORMS[form]})
    quantize_model(model, 4)
    cache = model.make_cache()
    rows = [model(IDS[:, :4], cache), *(model(IDS[:, i : i + 1], cache) for i in range(4, IDS.shape[1]))]
    want = np.array(model(IDS))
    np.testing.assert_allclose(np.array(mx.concatenate(rows, axis=1)), want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize(("form", "dtype"), [("flat", mx.bfloat16), ("mixed_heads_decay", mx.float16)], ids=str)
def test_a_half_precision_model_writes_what_full_passes_in_that_precision_do(form: str, dtype: mx.Dtype) -> None:
    model = tiny_model(seed=5, **{**WIDE, **SOME_FORMS[form]})
    cast_model(model, dtype)
    assert model(IDS).dtype == dtype
    assert greedy(model, [5, 11, 60], 12) == by_full_passes(model, [5, 11, 60], 12)


@pytest.mark.parametrize("form", ["tied"])
def test_a_quantised_half_precision_model_writes_what_full_passes_do(form: str) -> None:
    model = tiny_model(seed=3, **{**WIDE, **SOME_FORMS[form]})
    cast_model(model, mx.float16)
    quantize_model(model, 8)
    assert model(IDS).dtype == mx.float16
    assert greedy(model, [5, 11, 60], 12) == by_full_passes(model, [5, 11, 60], 12)


def test_samples_of_a_quantised_model_are_what_each_alone_would_be() -> None:
    model = tiny_model(**WIDE)
    quantize_model(model, 8)
    prompts = [[5, 11, 60], [7, 3]]
    steps = generate_batch(model, prompts, sampler=lambda logprobs: mx.argmax(logprobs, axis=-1))
    columns = list(zip(*islice(steps, 8), strict=True))
    assert [list(column) for column in columns] == [greedy(model, prompt, 8) for prompt in prompts]


def test_a_model_is_quantised_after_it_has_decoded() -> None:
    """The compiled step of a model sees the modules that a quantiser put in their place."""
    model = tiny_model(**WIDE)
    greedy(model, [5, 11], 3)
    quantize_model(model, 4)
    assert greedy(model, [5, 11, 60], 12) == by_full_passes(model, [5, 11, 60], 12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quantised folder whose greedy continuations run on for a while."""
    return quantised_folder(tmp_path_factory.mktemp("quantised") / "m", bits=8, dtype=mx.float16, seed=4)


def test_mlx_lm_writes_with_a_quantised_folder(folder: Path) -> None:
    model, tokenizer = load_model(folder, as_stored=True), load_tokenizer(folder)
    prompt = tokenizer.encode("The package")
    got = [int(answer.token) for answer in mlx_lm.stream_generate(model, tokenizer, prompt, max_tokens=10)]
    assert got == greedy(model, prompt, 10)[: len(got)]
    assert len(mlx_lm.generate(model, tokenizer, "The package", max_tokens=10)) > 0


def test_our_generator_writes_with_a_quantised_folder(folder: Path) -> None:
    settings = SamplingSettings(max_tokens=6, temperature=0)
    chunks = stream_generate(load_model(folder, as_stored=True), load_tokenizer(folder), "The", settings=settings)
    assert list(chunks)[-1].generation_tokens > 0


@pytest.mark.parametrize("pooling", ["token_weighted", "position"])
def test_a_quantised_folder_embeds(pooling: str, tmp_path: Path) -> None:
    folder = quantised_folder(tmp_path / "m", bits=8, dtype=mx.float16, pooling=pooling)
    vectors = load_embedder(folder).embed(["one text", "another"])
    assert vectors.shape == (2, 64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_static_vectors_are_quantised_and_hardly_move(tmp_path: Path) -> None:
    quantised_folder(tmp_path / "q", bits=8, dtype=mx.float16, pooling="static", embedding_size=128)
    plain = load_model(tmp_path / "q", as_stored=False)
    held = load_model(tmp_path / "q", as_stored=True)
    assert isinstance(held.pooling.table, nn.QuantizedEmbedding)
    ids = mx.array([[3, 3, 9, 20]])
    np.testing.assert_allclose(
        np.array(held.pooling(ids).astype(mx.float32)), np.array(plain.pooling(ids)), rtol=2e-2, atol=2e-3
    )


@pytest.mark.parametrize(
    "config",
    [
        autoencoding_config(**WIDE, compressed_size=32, decoder_input="unroll"),
        autoencoding_config(**WIDE, num_decoder_layers=0),
        bidirectional_config(**WIDE),
        bidirectional_config(**WIDE, tie_word_embeddings=True),
    ],
    ids=["bottleneck", "encoder", "bidirectional", "bidirectional_tied"],
)
def test_the_other_kinds_are_quantised_too(config: Any, tmp_path: Path) -> None:
    model = model_of(config)
    quantize_model(model, 8)
    save_model(tmp_path, model)
    held, unpacked = load_model(tmp_path, as_stored=True), load_model(tmp_path, as_stored=False)
    assert held.config == model.config
    want = np.array(unpacked.hidden_states(IDS))
    got = np.array(held.hidden_states(IDS))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


def test_a_re_ranker_is_quantised_but_for_its_one_row_of_scores(tmp_path: Path) -> None:
    model = model_of(retrieval_config(**WIDE))
    quantize_model(model, 8)
    assert type(model.score) is nn.Linear
    save_model(tmp_path, model)
    rows = mx.random.normal((2, 5, 64), key=mx.random.key(1))
    got, want = (np.array(load_model(tmp_path, as_stored=stored)(rows)) for stored in (True, False))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_a_quantised_file_is_what_mlx_lm_would_write(tmp_path: Path) -> None:
    folder = quantised_folder(tmp_path / "m", dtype=mx.float16)
    assert json.loads((folder / "config.json").read_text())["quantization"] == {
        "bits": 4,
        "group_size": 64,
        "mode": "affine",
    }
    weights = load_file(folder / "model.safetensors")
    up = {part: weights[f"layers.0.channel_mixing.up.{part}"] for part in ("weight", "scales", "biases", "bias")}
    assert [(array.dtype.name, array.shape) for array in up.values()] == [
        ("uint32", (96, 8)), ("float16", (96, 1)), ("float16", (96, 1)), ("float16", (96,)),
    ]  # fmt: skip
    # 96 does not divide into groups of 64, so this map keeps its values.
    assert weights["layers.0.channel_mixing.down.weight"].dtype == np.float16
    assert weights["layers.0.token_mixing.weight"].dtype == np.float16


def test_unpacking_is_exact_to_float32_rounding(tmp_path: Path) -> None:
    """Against the formula in numpy, float64."""
    folder = quantised_folder(tmp_path / "m", dtype=mx.float16)
    weights = load_file(folder / "model.safetensors")
    name = "layers.1.channel_mixing.up"
    bits = (weights[f"{name}.weight"][:, :, None] >> (4 * np.arange(8, dtype=np.uint32))) & 15
    scales, offsets = (weights[f"{name}.{part}"].astype(np.float64) for part in ("scales", "biases"))
    want = bits.reshape(96, 64) * scales + offsets
    got = np.array(load_model(folder, as_stored=False).layers[1].channel_mixing.up.weight)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(mx.default_device() != mx.cpu, reason="kept as stored where that is fast")
def test_a_cpu_unpacks_unless_told_otherwise(tmp_path: Path) -> None:
    folder = quantised_folder(tmp_path / "m")
    assert load_config(folder).quantization is not None
    model = load_model(folder)
    assert model.config.quantization is None
    assert load_language_model(folder, as_stored=True).config.quantization is not None
    # What it says of itself is what is written: the model can be saved, and loaded again.
    save_model(folder, model)
    assert load_model(folder, as_stored=True).config.quantization is None


def test_decays_are_never_rounded() -> None:
    model = tiny_model(**{**WIDE, **STRUCTURED["mixed_heads_decay"]})
    before = np.array(model.layers[0].token_mixing.decay)
    cast_model(model, mx.bfloat16)
    np.testing.assert_array_equal(np.array(model.layers[0].token_mixing.decay), before)
    assert model.layers[0].token_mixing.weight.dtype == mx.bfloat16


@pytest.mark.parametrize(("width", "group"), [(512, 128), (192, 64), (96, 32)])
def test_the_largest_groups_that_fit_are_chosen(width: int, group: int) -> None:
    assert choose_quantization(tiny_config(hidden_size=width), 4).group_size == group


def test_what_cannot_be_quantised_is_said() -> None:
    with pytest.raises(UsageError, match=r"hidden_size is 16, which does not divide.*--dtype float16"):
        quantize_model(tiny_model(), 4)
    with pytest.raises(UsageError, match="3 bits were asked for; models are quantised to 4 or 8"):
        quantize_model(tiny_model(**WIDE), 3)
    model = tiny_model(**WIDE)
    quantize_model(model, 8)
    with pytest.raises(UsageError, match="quantised already, to 8 bits"):
        quantize_model(model, 4)
    with pytest.raises(UsageError, match="cannot be cast"):
        cast_model(model, mx.float16)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"bits": 4}, "quantization in config.json lacks group_size"),
        ({"bits": 7, "group_size": 64}, "quantization.bits is 7; it must be one of 2, 3, 4, 5, 6, 8"),
        ({"bits": True, "group_size": 64}, "quantization.bits is True"),
        ({"bits": 4, "group_size": 48}, "quantization.group_size is 48"),
        ({"bits": 4, "group_size": 64, "mode": "mxfp4"}, "quantization.mode is 'mxfp4'"),
        ({"bits": 4, "groupsize": 64}, "did you mean 'group_size'"),
        (4, "quantization in config.json is a int; it must be a table"),
    ],
)
def test_a_wrong_entry_is_refused(entry: Any, message: str) -> None:
    values = {**tiny_config().to_dict(), "quantization": entry}
    with pytest.raises(ConfigError, match=message):
        type(tiny_config()).from_dict(values)


def forget(weights: dict[str, mx.array], part: str) -> dict[str, mx.array]:
    return {name: array for name, array in weights.items() if not name.endswith(part)}


@pytest.mark.parametrize("as_stored", [True, False])
@pytest.mark.parametrize(
    "damage",
    [
        lambda weights: forget(weights, ".scales"),
        lambda weights: forget(weights, "lm_head.biases"),
        lambda weights: {**weights, "lm_head.scales": weights["lm_head.scales"][:-1]},
        lambda weights: {**weights, "lm_head.weight": weights["lm_head.weight"][:, :-1]},
        lambda weights: {**weights, "lm_head.weight": weights["lm_head.weight"].astype(mx.float32)},
    ],
)
def test_damaged_quantised_weights_are_one_line(damage: Any, as_stored: bool, tmp_path: Path) -> None:
    folder = quantised_folder(tmp_path / "m")
    weights = dict(mx.load(str(folder / "model.safetensors")))  # type: ignore[arg-type]
    write_checkpoint(folder, damage(weights), load_config(folder))
    with pytest.raises(CheckpointError, match=r"do not fit its config\.json") as caught:
        load_model(folder, as_stored=as_stored)
    assert "\n" not in str(caught.value)


def test_every_kind_is_read_as_stored(tmp_path: Path) -> None:
    for name, config in CONFIGS.items():
        (tmp_path / name).mkdir()
        save_model(tmp_path / name, model_of(config))
        assert load_model(tmp_path / name, as_stored=True).config == config
