"""InfoNCE and the two ways to embed, against float64 twins."""

from pathlib import Path

import mlx.core as mx
import numpy as np
import numpy.typing as npt
import pytest

from mlx_mixer.embedding import load_embedder
from mlx_mixer.training.contrastive import bag_embeddings, info_nce, text_embeddings
from mlx_mixer.training.pair_batches import (
    PairSettings,
    TokenPairs,
    count_tokens,
    cut_span,
    draw_pairs,
    windows_of,
)
from tests.tiny import byte_tokenizer, tiny_model, tiny_model_folder

Floats = npt.NDArray[np.float64]


def unit(rows: int, seed: int) -> Floats:
    vectors = np.random.default_rng(seed).standard_normal((rows, 6))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def reference(queries: Floats, passages: Floats, temperature: float) -> float:
    total = 0.0
    for i in range(len(queries)):
        to_passages = [np.exp(queries[i] @ passage / temperature) for passage in passages]
        to_queries = [np.exp(query @ passages[i] / temperature) for query in queries]
        total -= np.log(to_passages[i] / sum(to_passages)) + np.log(to_queries[i] / sum(to_queries))
    return total / (2 * len(queries))


@pytest.mark.parametrize("temperature", [0.02, 0.1, 1.0])
def test_info_nce_is_its_equation(temperature: float) -> None:
    queries, passages = unit(7, 0), unit(7, 1)
    got = info_nce(mx.array(queries, mx.float32), mx.array(passages, mx.float32), temperature)
    assert got.item() == pytest.approx(reference(queries, passages, temperature), rel=1e-4)


def test_vectors_that_are_all_alike_cost_the_logarithm_of_the_batch() -> None:
    same = mx.broadcast_to(mx.array([1.0, 0.0]), (5, 2))
    assert info_nce(same, same, 0.05).item() == pytest.approx(np.log(5), rel=1e-5)


def test_a_step_against_the_gradient_draws_pairs_together() -> None:
    queries, passages = mx.array(unit(7, 0), mx.float32), mx.array(unit(7, 1), mx.float32)
    gradient = mx.grad(lambda q: info_nce(q, passages, 0.1))(queries)
    moved = queries - 0.05 * gradient
    before, after = queries @ passages.T, moved @ passages.T
    others = ~np.eye(7, dtype=bool)
    margin = np.array(mx.diag(after - before)) - np.array(after - before)[others].reshape(7, 6).mean(axis=1)
    assert (margin > 0).all()


def test_a_bag_of_words_is_the_sum_of_weighted_vectors() -> None:
    model = tiny_model(pooling="token_weighted")
    texts = [np.array([3, 3, 9]), np.array([60])]
    got = np.array(bag_embeddings(model, mx.array(count_tokens(texts, 64))))
    vectors = np.array(model.embed_tokens.weight, np.float64)
    weights = np.log1p(np.exp(np.array(model.pooling.token_weight, np.float64)))
    for text, embedding in zip(texts, got, strict=True):
        total = sum(weights[token] * vectors[token] for token in text)
        np.testing.assert_allclose(embedding, total / np.linalg.norm(total), rtol=1e-4, atol=1e-6)


def test_embeddings_for_training_are_those_that_users_get(tmp_path: Path) -> None:
    embedder = load_embedder(tiny_model_folder(tmp_path, pooling="token_weighted"))
    texts = ["a text that is longer than one window of twenty-four", "short", "mid length"]
    ids = [np.array(byte_tokenizer().encode(text).ids) for text in texts]
    arrays = [mx.array(array) for array in windows_of(ids, 24)]
    got = text_embeddings(embedder.model, arrays[0], arrays[1], arrays[2], len(texts))
    np.testing.assert_allclose(np.array(got), embedder.embed(texts), atol=1e-5)


def test_a_span_is_taken_out_of_its_passage() -> None:
    passage = np.arange(40)
    settings = PairSettings(shortest_span=3, longest_span=8)
    for seed in range(50):
        span, rest = cut_span(passage, settings, np.random.default_rng(seed))
        assert 3 <= len(span) <= 8
        assert sorted([*span, *rest]) == passage.tolist()
        assert (np.diff(span) == 1).all()


def test_drawn_pairs_belong_together_and_no_query_is_empty() -> None:
    passages = [np.full(20, number) for number in range(30)]
    pairs = TokenPairs(passages, [[np.full(2, number)] for number in range(30)])
    queries, drawn = draw_pairs(pairs, PairSettings(batch_size=16, token_drop=0.9), np.random.default_rng(0))
    assert len({int(passage[0]) for passage in drawn}) == 16
    for query, passage in zip(queries, drawn, strict=True):
        assert len(query)
        assert set(query) == set(passage)
