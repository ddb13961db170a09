"""Embeddings against one text at a time, without batches."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt
import pytest

from mlx_mixer.checkpoint import load_language_model, load_model
from mlx_mixer.embedding import Embedder, load_embedder
from mlx_mixer.errors import CheckpointError, ModelNotFoundError, UnsupportedModelError
from mlx_mixer.layers.pooling import StaticPooling
from mlx_mixer.word_tokenizer import WordTokenizer
from tests.tiny import FORMS, STRUCTURED, TOEPLITZ, byte_tokenizer, tiny_model_folder
from tests.tiny_kinds import AUTOENCODERS, CONFIGS, autoencoding_config, bidirectional_config, folder_of

TEXTS = [
    "short",
    "",
    "a text of some length",
    "x",
    "one that is longer than the window of twenty-four tokens",
    "mid size ok",
]


def normalise(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return vector / np.linalg.norm(vector)


def embedder(folder: Path, **changes: Any) -> Embedder:
    return load_embedder(tiny_model_folder(folder, **changes))


def ids_of(text: str) -> list[int]:
    return list(byte_tokenizer().encode(text).ids)


def test_token_weighted_pooling_follows_its_equation(tmp_path: Path) -> None:
    vectors = embedder(tmp_path, pooling="token_weighted").embed(TEXTS)
    model = load_model(tmp_path)
    weight = np.array(model.pooling.token_weight, np.float64)
    gate = np.array(model.pooling.layer_gate, np.float64)
    for text, vector in zip(TEXTS, vectors, strict=True):
        ids = ids_of(text)
        total = np.zeros(16)
        for start in range(0, len(ids), 24):
            window = ids[start : start + 24]
            states = [np.array(state, np.float64)[0] for state in model.residual_states(mx.array([window]))]
            mixed = gate[0] * states[0] + sum(gate[i] * (states[i] - states[i - 1]) for i in range(1, len(states)))
            total += sum(np.log1p(np.exp(weight[token])) * row for token, row in zip(window, mixed, strict=True))
        expected = normalise(total) if ids else total
        np.testing.assert_allclose(vector, expected, rtol=1e-4, atol=1e-5)


def test_static_pooling_follows_its_equation(tmp_path: Path) -> None:
    found = embedder(tmp_path, pooling="static", embedding_size=40)
    texts = [*TEXTS, "aaaa bbb aaaa", "a" * 60]
    vectors = found.embed(texts)
    assert found.dims == 40
    model = load_model(tmp_path)
    weight = np.log1p(np.exp(np.array(model.pooling.token_weight, np.float64)))
    table = np.array(model.pooling.table.weight, np.float64)
    for text, vector in zip(texts, vectors, strict=True):
        ids = ids_of(text)
        total = np.zeros(40)
        for start in range(0, len(ids), 24):
            for token, times in Counter(ids[start : start + 24]).items():
                total += times**0.5 * weight[token] * table[token]
        np.testing.assert_allclose(vector, normalise(total) if ids else total, rtol=1e-4, atol=1e-5)


WORDS = ["the", "cat", "sat", "index", "of"]


def word_embedder(folder: Path, words: Sequence[str] = WORDS) -> Embedder:
    sizes = {"embedding_size": 24, "word_embedding_size": 40, "word_vocab_size": 12}
    tiny_model_folder(folder, pooling="static", fold_case=True, **sizes)
    (folder / "words.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    return load_embedder(folder)


def static_sum(pooling: StaticPooling, ids: list[int]) -> npt.NDArray[np.float64]:
    weight = np.log1p(np.exp(np.array(pooling.token_weight, np.float64)))
    table = np.array(pooling.table.weight, np.float64)
    total = np.zeros(table.shape[1])
    for start in range(0, len(ids), 24):
        for number, times in Counter(ids[start : start + 24]).items():
            total += times**0.5 * weight[number] * table[number]
    return normalise(total) if ids else total


def test_vectors_of_tokens_and_words_follow_their_equation(tmp_path: Path) -> None:
    found = word_embedder(tmp_path)
    model = load_language_model(tmp_path)
    texts = ["The cats sat; the INDEX of zebras.", "the " * 60, "Zebra zebras ZEBRA", "", "?!"]
    vectors = found.embed(texts)
    assert vectors.shape == (5, found.dims) == (5, 64)
    for text, vector in zip(texts, vectors, strict=True):
        of_tokens = static_sum(model.pooling, ids_of(" ".join(text.lower().split())))
        of_words = static_sum(model.word_pooling, WordTokenizer(WORDS, 7).encode([text])[0])
        both = np.concatenate([of_tokens, of_words])
        np.testing.assert_allclose(vector, normalise(both) if text else both, rtol=1e-4, atol=1e-5)
    # A text without words has its tokens.
    assert not vectors[4][24:].any()
    assert found.count_tokens(["the cat", "zebra"]) == [7, 5]


def test_other_words_are_another_fingerprint(tmp_path: Path) -> None:
    before = word_embedder(tmp_path).fingerprint
    assert word_embedder(tmp_path).fingerprint == before
    assert word_embedder(tmp_path, [*WORDS[:-1], "at"]).fingerprint != before


def test_a_list_of_words_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    word_embedder(tmp_path)
    for words, told in (("the\nthe\n", "1 of them twice"), ("a\n" + "\n".join("bcdefghijklm"), "fewer than 12")):
        (tmp_path / "words.txt").write_text(words, encoding="utf-8")
        with pytest.raises(CheckpointError, match=told):
            load_embedder(tmp_path)
    (tmp_path / "words.txt").write_bytes(b"\xff\xfe\n")
    with pytest.raises(CheckpointError, match=r"words\.txt cannot be read"):
        load_embedder(tmp_path)
    (tmp_path / "words.txt").unlink()
    with pytest.raises(ModelNotFoundError, match=r"holds no words\.txt"):
        load_embedder(tmp_path)


def test_blocks_that_no_gate_lets_in_are_left_out_without_a_difference(tmp_path: Path) -> None:
    closed = embedder(tmp_path, pooling="token_weighted")
    closed.model.pooling.layer_gate = mx.array([1.0, 0.0, 0.0])
    everything = closed.embed(TEXTS)
    skipping = Embedder(closed.model, closed._parts[0].tokenizer, "closed")
    skipping.model.layers = []
    np.testing.assert_allclose(skipping.embed(TEXTS), everything, atol=1e-6)


def test_folding_makes_case_and_white_space_count_for_nothing(tmp_path: Path) -> None:
    folding = embedder(tmp_path, pooling="token_weighted", fold_case=True)
    as_typed, plain = folding.embed(["  Memory\n\tManagement ", "memory management"])
    np.testing.assert_allclose(as_typed, plain, atol=1e-6)
    assert folding.count_tokens(["A  B"]) == folding.count_tokens(["a b"])


def test_folding_changes_the_fingerprint(tmp_path: Path) -> None:
    plain = embedder(tmp_path / "plain", pooling="token_weighted")
    folding = embedder(tmp_path / "folding", pooling="token_weighted", fold_case=True)
    assert plain.fingerprint != folding.fingerprint


def test_mean_pooling_averages_every_window(tmp_path: Path) -> None:
    vectors = embedder(tmp_path, pooling="mean").embed(TEXTS)
    model = load_model(tmp_path)
    for text, vector in zip(TEXTS, vectors, strict=True):
        ids = ids_of(text)
        if not ids:
            continue
        windows = [ids[start : start + 24] for start in range(0, len(ids), 24)]
        total = sum(np.array(model.hidden_states(mx.array([window])), np.float64)[0].sum(axis=0) for window in windows)
        np.testing.assert_allclose(vector, normalise(np.asarray(total)), rtol=1e-4, atol=1e-5)


LEFT_PADDED = {**FORMS, **TOEPLITZ, **{name: STRUCTURED[name] for name in ("col_decay", "mixed_heads")}}


@pytest.mark.parametrize("form", LEFT_PADDED)
@pytest.mark.parametrize("position", [None, -1, -5, 3, 23])
def test_left_padded_models_see_a_text_at_the_end_of_the_window(
    tmp_path: Path, form: str, position: int | None
) -> None:
    """Against full windows: padding that is remembered must be the padding that is seen."""
    settings = {"padding_side": "left", "pad_token_id": 256, "embedding_position": position, **LEFT_PADDED[form]}
    left = embedder(tmp_path, **settings)
    vectors = np.concatenate([left.embed(TEXTS[:3]), left.embed(TEXTS[3:4]), left.embed(TEXTS[4:])])
    model = load_model(tmp_path)
    for text, vector in zip(TEXTS, vectors, strict=True):
        ids = ids_of(text)[:24]
        if not ids:
            assert not vector.any()
            continue
        window = [256] * (24 - len(ids)) + ids
        expected = np.array(model.hidden_states(mx.array([window])), np.float64)[
            0, -2 if position is None else position
        ]
        np.testing.assert_allclose(vector, normalise(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("position", "side"), [(-1, "right"), (-2, "right"), (-1, None), (3, "right")])
def test_right_padded_models_take_a_position_of_the_real_tokens(
    tmp_path: Path, position: int, side: str | None
) -> None:
    vectors = embedder(tmp_path, padding_side=side, embedding_position=position).embed(TEXTS)
    model = load_model(tmp_path)
    for text, vector in zip(TEXTS, vectors, strict=True):
        ids = ids_of(text)[:24]
        if not ids:
            continue
        index = max(0, len(ids) + position) if position < 0 else min(position, len(ids) - 1)
        expected = np.array(model.hidden_states(mx.array([ids])), np.float64)[0, index]
        np.testing.assert_allclose(vector, normalise(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", AUTOENCODERS)
def test_an_autoencoder_embeds_with_the_last_state_of_its_padded_window(tmp_path: Path, form: str) -> None:
    config = autoencoding_config(vocab_size=257, pad_token_id=256, **AUTOENCODERS[form])
    vectors = load_embedder(folder_of(tmp_path, config)).embed(TEXTS)
    assert vectors.shape == (len(TEXTS), config.hidden_size)
    model = load_model(tmp_path)
    for text, vector in zip(TEXTS, vectors, strict=True):
        ids = ids_of(text)[:24]
        if not ids:
            assert not vector.any()
            continue
        window = mx.array([[256] * (24 - len(ids)) + ids])
        np.testing.assert_allclose(
            vector, normalise(np.array(model.embeddings(window), np.float64)[0]), rtol=1e-4, atol=1e-5
        )


def test_an_autoencoder_of_right_padded_texts_takes_their_last_token(tmp_path: Path) -> None:
    config = autoencoding_config(vocab_size=257, padding_side="right")
    vectors = load_embedder(folder_of(tmp_path, config)).embed(TEXTS[:1])
    state = load_model(tmp_path).encoder(mx.array([ids_of(TEXTS[0])]))[0, -1]
    np.testing.assert_allclose(vectors[0], normalise(np.array(state, np.float64)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "config", [bidirectional_config(vocab_size=257), CONFIGS["retrieval"]], ids=["double", "re-ranker"]
)
def test_kinds_without_a_vector_of_a_text_are_named(tmp_path: Path, config: Any) -> None:
    with pytest.raises(UnsupportedModelError, match=f"type '{config.model_type}' makes no vectors of texts"):
        load_embedder(folder_of(tmp_path, config))


def test_padding_is_computed_once(tmp_path: Path) -> None:
    """The forward passes after the first text see its own tokens alone."""
    left = embedder(tmp_path, padding_side="left", pad_token_id=256)
    left.embed(["warm"])
    seen = []
    original = left.model.hidden_from_vectors

    def watched(vectors: mx.array, cache: Any = None) -> mx.array:
        seen.append(vectors.shape[1])
        return original(vectors, cache)

    left.model.hidden_from_vectors = watched
    left.embed(["abc", "a text of some length"])
    assert seen == [len("a text of some length")]


def test_company_in_a_batch_changes_nothing(tmp_path: Path) -> None:
    model = embedder(tmp_path, pooling="token_weighted")
    together = model.embed(TEXTS * 40)
    alone = np.concatenate([model.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(together[: len(TEXTS)], alone, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(together[-len(TEXTS) :], alone, rtol=1e-4, atol=1e-5)


def test_vectors_have_length_one_and_no_text_has_none(tmp_path: Path) -> None:
    vectors = embedder(tmp_path).embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 1, 1, 1, 1], rtol=1e-5)
    assert embedder(tmp_path).embed([]).shape == (0, 16)


def test_tokens_are_counted_without_the_model(tmp_path: Path) -> None:
    assert embedder(tmp_path).count_tokens(["abc", "", "ü"]) == [3, 0, 2]


def test_special_tokens_in_a_text_are_plain_characters(tmp_path: Path) -> None:
    assert embedder(tmp_path).count_tokens(["<eos>"]) == [len("<eos>")]


def test_lone_surrogates_of_a_file_name_do_no_harm(tmp_path: Path) -> None:
    assert np.isfinite(embedder(tmp_path).embed(["caf\udce9"])).all()


def test_the_fingerprint_follows_weights_and_pooling(tmp_path: Path) -> None:
    first = embedder(tmp_path / "a").fingerprint
    assert first == embedder(tmp_path / "b").fingerprint
    assert first != embedder(tmp_path / "c", seed=1).fingerprint
    assert first != embedder(tmp_path / "d", embedding_position=-2).fingerprint


def test_a_left_padded_model_without_a_pad_token_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no pad_token_id"):
        embedder(tmp_path, padding_side="left").embed(["a"])


def test_a_missing_or_broken_tokenizer_is_named(tmp_path: Path) -> None:
    folder = tiny_model_folder(tmp_path)
    (folder / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json cannot be read"):
        load_embedder(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelNotFoundError, match=r"holds no tokenizer\.json"):
        load_embedder(folder)
