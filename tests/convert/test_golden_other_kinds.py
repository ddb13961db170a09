"""Autoencoders, re-rankers and bidirectional mixers compute what the upstream modules computed."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from convert import convert_checkpoint
from mlx_mixer.checkpoint import load_model
from mlx_mixer.embedding import load_embedder
from mlx_mixer.errors import ConversionError, UnsupportedModelError
from mlx_mixer.models.autoencoding import AutoencodingMixer, reconstruction_loss
from mlx_mixer.models.bidirectional import BidirectionalMixer, both_sides_loss
from mlx_mixer.models.retrieval import RetrievalMixer, match_loss
from tests.convert.golden import CASES, assert_close, checkpoint, expected, needed_hints, of_family

AUTOENCODERS = of_family("autoencoder")
UNROLLABLE = [name for name in AUTOENCODERS if CASES[name]["needs_hint"]]


def converted(name: str, out: Path, **hints: Any) -> Any:
    """The model that the files of a case become; its class depends on the case."""
    report = convert_checkpoint(checkpoint(name), out, **{**needed_hints(name), **hints})
    assert report.family == CASES[name]["family"]
    assert report.parameters == report.config.num_parameters
    return load_model(out)


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_an_autoencoder_equals_upstream_at_every_stage(name: str, tmp_path: Path) -> None:
    io = expected(name)
    model = converted(name, tmp_path / "out")
    assert isinstance(model, AutoencodingMixer)
    ids = mx.array(io["input_ids"])
    assert_close(name, model.encoder(ids), io["encoder_hidden"])
    assert_close(name, model.embeddings(ids), io["encoder_embedding"])
    assert_close(name, model.decoder_input(model.embeddings(ids), ids.shape[1]), io["decoder_input"])
    assert_close(name, model.hidden_states(ids), io["hidden"])
    assert_close(name, model(ids), io["logits"])
    assert_close(name, reconstruction_loss(model, ids, mx.array(io["labels"])).item(), io["loss"])


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_the_form_of_an_autoencoder_is_inferred(name: str, tmp_path: Path) -> None:
    want, config = CASES[name]["config"], converted(name, tmp_path / "out").config
    assert (config.vocab_size, config.hidden_size) == (want["vocab_size"], want["dim"])
    assert (config.num_layers, config.num_decoder_layers) == (want["depth"], want["depth"])
    assert (config.context_length, config.kernel_size) == (want["seq_len"], want["kernel"])
    assert config.num_heads == max(1, want["heads"])
    assert config.compressed_size == (want["dim"] // want["compression"] if want["compression"] > 1 else None)
    assert config.decoder_input == want["decoder_input"]


@pytest.mark.parametrize("name", UNROLLABLE)
def test_a_stored_projection_needs_a_word_from_the_user(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"give the hint decoder_input='unroll' \(--decoder-input unroll\)"):
        convert_checkpoint(checkpoint(name), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_can_be_unrolled_without_a_projection(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="has no projection"):
        convert_checkpoint(checkpoint("autoencoder"), tmp_path / "out", decoder_input="unroll")


@pytest.mark.parametrize("name", of_family("retrieval_mixer"))
def test_a_re_ranker_equals_upstream(name: str, tmp_path: Path) -> None:
    io = expected(name)
    model = converted(name, tmp_path / "out")
    assert isinstance(model, RetrievalMixer)
    rows = mx.array(io["inputs"])
    assert_close(name, model.hidden_states(rows), io["hidden"])
    assert_close(name, model(rows), io["scores"])
    assert_close(name, match_loss(model, rows, mx.array(io["labels"])).item(), io["loss"])


@pytest.mark.parametrize("name", of_family("double"))
def test_a_bidirectional_mixer_equals_upstream(name: str, tmp_path: Path) -> None:
    io = expected(name)
    model = converted(name, tmp_path / "out")
    assert isinstance(model, BidirectionalMixer)
    ids = mx.array(io["input_ids"])
    assert_close(name, model.forward_states(ids), io["hidden_forward"])
    assert_close(name, model.reverse_states(ids), io["hidden_reverse"])
    assert_close(name, model(ids), io["logits"])
    assert_close(name, model(ids, forward_only=True), io["logits_forward_only"])
    assert_close(name, both_sides_loss(model, ids, mx.array(io["labels"])).item(), io["loss"])


def test_a_re_ranker_keeps_all_of_its_weights(tmp_path: Path) -> None:
    model = converted("retrieval_mixer", tmp_path / "out")
    assert np.triu(np.array(model.layers[0].token_mixing.weight), 1).any()


@pytest.mark.parametrize("name", of_family("infonce_autoencoder"))
def test_an_encoder_trained_on_as_an_embedder_embeds_as_upstream(name: str, tmp_path: Path) -> None:
    """The paper's loss, with one right row among the others, in the form its authors wrote it."""
    io, config = expected(name), CASES[name]["config"]
    words = {f"t{index}": index for index in range(config["vocab_size"])}
    tokenizer = Tokenizer(models.WordLevel(words, "t0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    pad = config["pad_token_id"]
    model = converted(name, tmp_path / "out", pad_token_id=pad, tokenizer=tmp_path / "tokenizer.json")
    assert model.config.num_decoder_layers == 0
    assert_close(name, model.hidden_states(mx.array(io["input_ids"])), io["hidden"])
    assert_close(name, model.embeddings(mx.array(io["input_ids"])), io["embeddings"])
    texts = [" ".join(f"t{index}" for index in row if index != pad) for row in io["input_ids"]]
    vectors = load_embedder(tmp_path / "out").embed(texts)
    assert_close(name, vectors, io["embeddings"] / np.linalg.norm(io["embeddings"], axis=1, keepdims=True))
    cosines = vectors[1:] @ vectors[0]
    assert_close(name, cosines, io["cosine_to_query"])
    scores = cosines / config["temperature"]
    loss = np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[config["matching_index"] - 1]
    assert_close(name, loss, io["loss"])


def test_the_whole_of_a_wrapped_autoencoder_is_there_for_the_asking(tmp_path: Path) -> None:
    name = of_family("infonce_autoencoder")[0]
    report = convert_checkpoint(checkpoint(name), tmp_path / "out", decoder_input="repeat")
    assert report.family == "autoencoder"
    model = load_model(tmp_path / "out")
    assert isinstance(model, AutoencodingMixer)
    assert model(mx.array(expected(name)["input_ids"])).shape == (6, 16, 64)


def test_an_encoder_alone_says_that_it_has_no_logits(tmp_path: Path) -> None:
    model = converted(of_family("infonce_autoencoder")[0], tmp_path / "out")
    with pytest.raises(UnsupportedModelError, match="has no logits"):
        model(mx.zeros((1, 4), mx.int32))


def test_hints_that_say_nothing_to_a_re_ranker_are_noted(tmp_path: Path) -> None:
    report = convert_checkpoint(checkpoint("retrieval_mixer"), tmp_path / "out", padding_side="left")
    assert [warning for warning in report.warnings if "padding_side" in warning] == [
        "the hint padding_side says nothing about a retrieval_mixer mixer and was ignored"
    ]
