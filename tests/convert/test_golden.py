"""Converted checkpoints compute what the upstream modules computed."""

import hashlib
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from convert import convert_checkpoint
from mlx_mixer.checkpoint import load_model
from mlx_mixer.embedding import load_embedder
from mlx_mixer.errors import UnsupportedModelError
from mlx_mixer.generation import generate_tokens
from mlx_mixer.models.language import LanguageMixer, next_token_loss
from tests.convert.golden import (
    CASES,
    CONVERTED,
    GOLDEN,
    MANIFEST,
    REFUSED,
    assert_close,
    checkpoint,
    expected,
    needed_hints,
)

LANGUAGE = [name for name in CONVERTED if "logits" in CASES[name]["tensors"]]
GREEDY = [name for name in CONVERTED if "greedy_output" in CASES[name]["tensors"]]
EMBEDDING = [name for name in CONVERTED if "embeddings" in CASES[name]["tensors"]]


def converted(name: str, out: Path, **hints: Any) -> LanguageMixer:
    convert_checkpoint(checkpoint(name), out, **needed_hints(name), **hints)
    return load_model(out)


def test_every_golden_file_is_the_one_the_manifest_describes() -> None:
    named = {path: facts["sha256"] for case in CASES.values() for path, facts in case["files"].items()}
    found = {
        str(path.relative_to(GOLDEN)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in GOLDEN.rglob("*")
        if path.is_file() and path.name not in ("README.md", "manifest.json")
    }
    assert found == named
    assert len(CONVERTED) >= 25
    assert MANIFEST["format_version"] == 1


@pytest.mark.parametrize("name", CONVERTED)
def test_hidden_states_equal_upstream(name: str, tmp_path: Path) -> None:
    io = expected(name)
    assert_close(name, converted(name, tmp_path / "out").hidden_states(mx.array(io["input_ids"])), io["hidden"])


@pytest.mark.parametrize("name", LANGUAGE)
def test_logits_and_loss_equal_upstream(name: str, tmp_path: Path) -> None:
    io = expected(name)
    model = converted(name, tmp_path / "out")
    ids = mx.array(io["input_ids"])
    assert_close(name, model(ids), io["logits"])
    assert_close(name, next_token_loss(model, ids, mx.array(io["labels"])).item(), io["loss"])


@pytest.mark.parametrize("name", GREEDY)
def test_greedy_generation_writes_what_upstream_writes(name: str, tmp_path: Path) -> None:
    io = expected(name)
    (ids,) = io["greedy_output"].tolist()
    prompt = ids[: CASES[name]["config"]["greedy_prompt_length"]]
    steps = generate_tokens(
        converted(name, tmp_path / "out"), prompt, sampler=lambda logprobs: mx.argmax(logprobs, axis=-1)
    )
    assert [next(steps).token_id for _ in ids[len(prompt) :]] == ids[len(prompt) :]


@pytest.mark.parametrize("name", EMBEDDING)
def test_embeddings_of_texts_equal_upstream(name: str, tmp_path: Path) -> None:
    """From the words of a text to its vector, through the hints that the checkpoint does not hold."""
    io, config = expected(name), CASES[name]["config"]
    tokenizer = Tokenizer(models.WordLevel({f"t{index}": index for index in range(config["vocab_size"])}, "t0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    convert_checkpoint(
        checkpoint(name),
        tmp_path / "out",
        padding_side=config["padding_side"],
        pad_token_id=config["pad_token_id"],
        embedding_position=-2,
        tokenizer=tmp_path / "tokenizer.json",
    )
    texts = [" ".join(f"t{index}" for index in row if index != config["pad_token_id"]) for row in io["input_ids"]]
    vectors = load_embedder(tmp_path / "out").embed(texts)
    assert_close(name, vectors, io["embeddings"] / np.linalg.norm(io["embeddings"], axis=1, keepdims=True))
    cosines = vectors[1:] @ vectors[0]
    assert_close(name, cosines, io["cosine_to_query"])
    scores = cosines / config["temperature"]
    loss = np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[config["matching_index"] - 1]
    assert_close(name, loss, io["loss"])


@pytest.mark.parametrize("name", CONVERTED)
def test_the_configuration_is_inferred_from_shapes(name: str, tmp_path: Path) -> None:
    want = CASES[name]["config"]
    report = convert_checkpoint(checkpoint(name), tmp_path / "out", **needed_hints(name))
    got = report.config
    assert report.family == CASES[name]["family"]
    assert report.parameters == got.num_parameters
    assert (got.vocab_size, got.hidden_size, got.num_layers) == (want["vocab_size"], want["dim"], want["depth"])
    assert (got.context_length, got.tie_word_embeddings) == (want["seq_len"], want["tied"])
    assert got.intermediate_size == (want["ff_expansion"] * want["dim"] if want.get("ff", True) else 0)
    assert got.kernel_size == want.get("kernel", 1)
    assert got.token_expansion == want.get("conv_expansion", 1)
    assert got.token_bias is want.get("conv_bias", True)
    assert got.num_heads == (1 if want.get("mixer") == "headed_legacy" else max(1, want.get("heads", 1)))
    assert got.block_order == want["block_order"]
    assert got.activation == want["activation"].removesuffix("_exact")
    assert got.use_norms is want.get("norms", True)
    assert got.final_activation == want.get("final_activation")
    assert (got.decay, got.decay_constant) == (want.get("decay", False), want.get("decay_constant", 1))
    assert got.use_projections is want.get("projections", True)
    if report.family == "srm":
        assert got.token_mixing == want["mixer"]


@pytest.mark.parametrize("name", REFUSED)
def test_other_families_are_refused_by_name(name: str, tmp_path: Path) -> None:
    family = CASES[name]["family"].removeprefix("infonce_")
    with pytest.raises(UnsupportedModelError, match=rf"\(family {family}\)$"):
        convert_checkpoint(checkpoint(name), tmp_path / "out")
    assert not (tmp_path / "out").exists()
