"""Tokens and words of a text in one sequence, counted and learned apart."""

from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mlx_mixer.embedding import load_embedder
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.training.embed import embed_bags
from mlx_mixer.training.two_views import both_views, loss_by_parts, of_view, root_counts, view_bounds
from mlx_mixer.word_tokenizer import WordTokenizer
from tests.tiny import byte_tokenizer, tiny_config, tiny_model_folder

WORDS = ["the", "cat"]


def letters(texts: object) -> list[list[int]]:
    return [[ord(letter) for letter in text] for text in texts]  # type: ignore[attr-defined]


def test_both_views_keep_their_order_and_stand_where_they_are_in_the_text() -> None:
    text = "The cats and the zebra"
    (ids,) = both_views(letters, WordTokenizer(WORDS, 4), 1000)([text])
    merged = np.array(ids)
    assert of_view(merged, 0, 1000).tolist() == [ord(letter) for letter in text]
    assert (of_view(merged, 1000, 1006) - 1000).tolist() == WordTokenizer(WORDS, 4).encode([text])[0]
    # A half of the sequence is about half of each.
    half = merged[: len(merged) // 2]
    assert len(of_view(half, 0, 1000)) == pytest.approx(len(text) / 2, abs=1)
    assert len(of_view(half, 1000, 1006)) == pytest.approx(7 / 2, abs=1)
    assert both_views(letters, WordTokenizer(WORDS, 4), 1000)(["", "!"]) == [[], [ord("!")]]


def test_each_view_is_counted_in_windows_of_its_own() -> None:
    config = tiny_config(pooling="static", embedding_size=8, word_embedding_size=4, word_vocab_size=3)
    assert view_bounds(config) == [0, 64, 67]
    text = np.array([5, 64, 5, 5, 66, 5, 66, 66])
    got = root_counts([text, np.array([], np.int64)], [0, 64, 67], 2)
    expected = np.zeros((2, 67))
    # Tokens 5 5 | 5 5, words 64 66 | 66 66.
    expected[0, [5, 64, 66]] = [2 * 2**0.5, 1, 1 + 2**0.5]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_embeddings_for_training_are_those_that_users_get(tmp_path: Path) -> None:
    sizes = {"embedding_size": 24, "word_embedding_size": 40, "word_vocab_size": 12}
    tiny_model_folder(tmp_path, pooling="static", **sizes)
    (tmp_path / "words.txt").write_text("the\ncat\n", encoding="utf-8")
    embedder = load_embedder(tmp_path)
    assert isinstance(embedder.model, LanguageMixer)
    texts = ["the cats that are longer than one window of twenty-four", "Cat", "the zebra, the cat " * 20]
    tokens, words = byte_tokenizer(), WordTokenizer(WORDS, 10)
    encode = both_views(lambda texts: [tokens.encode(text).ids for text in texts], words, 257)
    ids = [np.array(found) for found in encode(texts)]
    np.testing.assert_allclose(embed_bags(embedder.model, ids), embedder.embed(texts), atol=1e-5)


def test_a_loss_by_parts_is_the_mean_of_what_each_part_has_alone() -> None:
    rng = np.random.default_rng(0)

    def units(rows: int, size: int) -> mx.array:
        vectors = rng.standard_normal((rows, size)).astype(np.float32)
        return mx.array(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    def loss(queries: mx.array, passages: mx.array, weight: float) -> mx.array:
        return weight * mx.exp(queries @ passages.T).sum()

    first, second = (units(3, 4), units(5, 4)), (units(3, 6), units(5, 6))
    whole = [mx.concatenate(pair, axis=1) * 0.5**0.5 for pair in zip(first, second, strict=True)]
    alone = [loss(*pair, 2.0).item() for pair in (first, second)]
    assert loss_by_parts(loss, [4, 6], [0, 1])(*whole, 2.0).item() == pytest.approx(sum(alone) / 2, rel=1e-5)
    assert loss_by_parts(loss, [4, 6], [1])(*whole, 2.0).item() == pytest.approx(alone[1], rel=1e-5)
    assert loss_by_parts(loss, [4], [0]) is loss
