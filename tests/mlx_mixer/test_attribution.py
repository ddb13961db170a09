"""Shares of a cosine against float64 sums and finite differences."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_mixer.attribution import token_shares
from mlx_mixer.embedding import Embedder, load_embedder
from mlx_mixer.text_pooling import StateInPaddedWindow, StateInText, make_pooling
from tests.tiny import FORMS, tiny_model, tiny_model_folder
from tests.tiny_kinds import autoencoding_config, folder_of

LONG = "a text that is longer than the window of twenty-four tokens, so that windows add up"
TEXTS = ["one", "Two  words\n", "x", LONG]
Float64 = npt.NDArray[np.float64]


def unit(seed: int, dims: int = 16) -> npt.NDArray[np.float32]:
    vector = np.random.default_rng(seed).normal(size=dims)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def value(array: mx.array) -> Float64:
    return np.array(array, np.float64)


def summands(embedder: Embedder, text: str) -> Float64:
    """What every token adds to the vector of a text, in float64 from the states of its windows."""
    model = embedder.model
    ids = embedder._parts[0].tokenizer.encode([text])[0]
    rows: list[Float64] = []
    for start in range(0, len(ids), 24):
        window = ids[start : start + 24]
        if model.config.pooling == "static":
            times = np.array([window.count(token) for token in window])
            weight = np.log1p(np.exp(value(model.pooling.token_weight)[window]))
            rows += list((weight / np.sqrt(times))[:, None] * value(model.pooling.table.weight)[window])
            continue
        states = [value(state)[0] for state in model.residual_states(mx.array([window]))]
        if model.config.pooling == "mean":
            rows += list(states[-1])
            continue
        gate, weight = value(model.pooling.layer_gate), value(model.pooling.token_weight)[window]
        mixed = gate[0] * states[0] + sum(gate[i] * (states[i] - states[i - 1]) for i in range(1, len(states)))
        rows += list(np.log1p(np.exp(weight))[:, None] * mixed)
    return np.array(rows)


@pytest.mark.parametrize("pooling", ["mean", "token_weighted", "static"])
@pytest.mark.parametrize("text", TEXTS)
def test_shares_of_a_sum_add_up_to_the_cosine(tmp_path: Path, pooling: str, text: str) -> None:
    sizes = {"embedding_size": 16} if pooling == "static" else {}
    embedder = load_embedder(tiny_model_folder(tmp_path, pooling=pooling, **sizes))
    query = unit(1)
    got = np.array([entry.share for entry in embedder.attribute(text, query)])
    rows = summands(embedder, text)
    twin = rows @ query.astype(np.float64) / np.linalg.norm(rows.sum(axis=0))
    np.testing.assert_allclose(got, twin, rtol=1e-4, atol=1e-5)
    cosine = embedder.embed([text])[0].astype(np.float64) @ query
    assert got.sum() == pytest.approx(twin.sum(), abs=1e-5)
    assert got.sum() == pytest.approx(cosine, abs=1e-5)


def test_shares_of_tokens_and_words_add_up_to_the_cosine_and_name_every_word_once(tmp_path: Path) -> None:
    sizes = {"embedding_size": 16, "word_embedding_size": 8, "word_vocab_size": 12}
    tiny_model_folder(tmp_path, pooling="static", fold_case=True, **sizes)
    (tmp_path / "words.txt").write_text("the\ncat\nserver\n", encoding="utf-8")
    embedder = load_embedder(tmp_path)
    query = unit(1, 24)
    text = "The CATS of HTTPServer: the\tzebras. " * 5
    shares = embedder.attribute(text, query)
    words = [text[entry.start : entry.end] for entry in shares if text[entry.start : entry.end].isalnum()]
    assert words == ["The", "CATS", "of", "HTTPServer", "the", "zebras"] * 5
    others = {text[entry.start : entry.end] for entry in shares if not text[entry.start : entry.end].isalnum()}
    assert others == {"", ":", "."}
    assert [(entry.start, entry.end) for entry in shares] == sorted((entry.start, entry.end) for entry in shares)
    cosine = embedder.embed([text])[0].astype(np.float64) @ query
    assert sum(entry.share for entry in shares) == pytest.approx(cosine, abs=1e-5)
    # A text without words has those of its tokens alone, and one without anything none.
    (alone,) = embedder.attribute("?", query)
    assert alone.share == pytest.approx(embedder.embed(["?"])[0] @ query, abs=1e-6)
    assert embedder.attribute("", query) == []


SETTINGS: dict[str, dict[str, Any]] = {
    "right": {"padding_side": "right", "embedding_position": -2},
    "from_start": {"embedding_position": 3},
    "left": {"padding_side": "left", "pad_token_id": 5},
    "left_far": {"padding_side": "left", "pad_token_id": 5, "embedding_position": -5},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_shares_of_a_state_are_what_finite_differences_say(setting: str, form: str) -> None:
    """In float64: scale one token's vector up and down a little and see how the cosine follows.

    The step is wide, and the difference of fourth order, because GELU is only exact to float32.
    """
    with mx.stream(mx.cpu):
        model = tiny_model(dtype=mx.float64, **FORMS[form], **SETTINGS[setting])
        pooling = make_pooling(model)
        assert isinstance(pooling, StateInText | StateInPaddedWindow)
        ids, query, step = [7, 12, 30, 12, 9, 41, 2], unit(2), 0.02
        vectors = value(model.embed_tokens(mx.array([ids])))

        def cosine(changed: Float64) -> float:
            state = value(pooling.state_of(mx.array(changed, mx.float64), mx.array([len(ids)])))[0]
            return float(state @ query.astype(np.float64) / np.linalg.norm(state))

        def scaled(token: int, factor: float) -> Float64:
            changed = vectors.copy()
            changed[0, token] *= factor
            return changed

        def difference(token: int, width: float) -> float:
            return cosine(scaled(token, 1 + width)) - cosine(scaled(token, 1 - width))

        differences = [
            (8 * difference(token, step) - difference(token, 2 * step)) / (12 * step) for token in range(len(ids))
        ]
        shares = token_shares(pooling, ids, query, 24)
    np.testing.assert_allclose(shares, differences, rtol=1e-3, atol=5e-5)
    assert np.abs(shares).max() > 1e-3


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_state_takes_its_shares_from_the_first_window(tmp_path: Path, setting: str) -> None:
    embedder = load_embedder(tiny_model_folder(tmp_path, **SETTINGS[setting]))
    assert len(embedder.attribute(LONG, unit(1))) == 24


def test_an_autoencoder_attributes_through_its_encoder(tmp_path: Path) -> None:
    config = autoencoding_config(vocab_size=257, pad_token_id=256)
    shares = load_embedder(folder_of(tmp_path, config)).attribute("some words", unit(1))
    assert len(shares) == len("some words")
    assert any(abs(entry.share) > 1e-3 for entry in shares)


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_a_text_without_tokens_has_no_shares(tmp_path: Path, text: str) -> None:
    embedder = load_embedder(tiny_model_folder(tmp_path, pooling="mean", fold_case=True))
    assert embedder.attribute(text, unit(1)) == []


def test_a_query_of_zeros_makes_shares_of_zero(tmp_path: Path) -> None:
    embedder = load_embedder(tiny_model_folder(tmp_path, pooling="mean"))
    assert {entry.share for entry in embedder.attribute("abc", np.zeros(16, np.float32))} == {0.0}


@pytest.fixture(scope="module")
def folding(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return load_embedder(tiny_model_folder(tmp_path_factory.mktemp("folding"), pooling="mean", fold_case=True))


letters = st.sampled_from("aB İΣßẞ\u0130\u00a0\u2003\n\t\x1c\x85é") | st.characters()


@settings(max_examples=50, deadline=None)
@given(text=st.text(letters, max_size=40))
def test_places_refer_to_the_text_as_it_was_given(folding: Embedder, text: str) -> None:
    """Though the tokenizer saw it in lower case, of another length and with other white space."""
    shares = folding.attribute(text, unit(1))
    covered = {index for entry in shares for index in range(entry.start, entry.end)}
    assert covered == {index for index, character in enumerate(text) if not character.isspace()}
    starts = [entry.start for entry in shares]
    assert starts == sorted(starts)


def test_lone_surrogates_keep_their_place(tmp_path: Path) -> None:
    embedder = load_embedder(tiny_model_folder(tmp_path, pooling="mean"))
    assert [(entry.start, entry.end) for entry in embedder.attribute("é\udce9x", unit(1))][-2:] == [(1, 2), (2, 3)]
