"""InfoNCE and the two ways to embed, against float64 twins."""

from pathlib import Path

import mlx.core as mx
import numpy as np
import numpy.typing as npt
import pytest

from mlx_mixer.embedding import load_embedder
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.training.contrastive import bag_embeddings, info_nce, nested, one_positive, text_embeddings
from mlx_mixer.training.embed import embed_bags, embed_windows
from mlx_mixer.training.pair_batches import (
    PairSettings,
    TokenPairs,
    chunks_of,
    cut_span,
    draw_pairs,
    windows_of,
)
from mlx_mixer.training.token_counts import count_tokens
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


def softmax_loss(scores: list[float], right: int) -> float:
    return float(np.log(np.exp(scores).sum()) - scores[right])


def test_passages_beyond_the_pairs_are_wrong_answers_and_equal_texts_are_none() -> None:
    queries, passages = unit(4, 0), unit(10, 1)
    excluded = np.zeros((4, 10), bool)
    excluded[0, [2, 7]] = excluded[2, [0, 9]] = True
    total = 0.0
    for i in range(4):
        seen = [j for j in range(10) if not excluded[i, j]]
        asking = [j for j in range(4) if not excluded[j, i]]
        total += softmax_loss([queries[i] @ passages[j] / 0.1 for j in seen], seen.index(i))
        total += softmax_loss([queries[j] @ passages[i] / 0.1 for j in asking], asking.index(i))
    got = info_nce(mx.array(queries, mx.float32), mx.array(passages, mx.float32), 0.1, mx.array(excluded))
    assert got.item() == pytest.approx(total / 8, rel=1e-4)


@pytest.mark.parametrize("brought", [0, 2])
def test_a_query_with_one_positive_sees_its_group_alone(brought: int) -> None:
    rows, count = 3, 7
    queries, passages = unit(count, 0), unit(count * (1 + brought), 1)
    total = 0.0
    for i in range(count):
        group = [j for j in range(count) if j // rows == i // rows]
        group += [count + j * brought + k for j in list(group) for k in range(brought)]
        total += softmax_loss([queries[i] @ passages[j] / 0.02 for j in group], group.index(i))
    got = one_positive(mx.array(queries, mx.float32), mx.array(passages, mx.float32), 0.02, rows)
    assert got.item() == pytest.approx(total / count, rel=1e-4)


def test_nested_sizes_are_losses_of_shorter_vectors() -> None:
    queries, passages = unit(5, 0), unit(5, 1)
    parts = []
    for size in (2, 4, 6):
        shorter = [
            side[:, :size] / np.linalg.norm(side[:, :size], axis=1, keepdims=True) for side in (queries, passages)
        ]
        parts.append(reference(shorter[0], shorter[1], 0.1))
    sides = mx.array(queries, mx.float32), mx.array(passages, mx.float32)
    got = nested(lambda q, p: info_nce(q, p, 0.1), *sides, [2, 4])
    assert got.item() == pytest.approx(np.mean(parts), rel=1e-4)


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


def test_static_embeddings_for_training_are_those_that_users_get(tmp_path: Path) -> None:
    embedder = load_embedder(tiny_model_folder(tmp_path, pooling="static", embedding_size=40))
    texts = ["a text that is longer than one window of twenty-four", "short", "eeeeee"]
    ids = [np.array(byte_tokenizer().encode(text).ids) for text in texts]
    assert isinstance(embedder.model, LanguageMixer)
    np.testing.assert_allclose(embed_bags(embedder.model, ids), embedder.embed(texts), atol=1e-5)


def test_embeddings_for_training_are_those_that_users_get(tmp_path: Path) -> None:
    embedder = load_embedder(tiny_model_folder(tmp_path, pooling="token_weighted"))
    texts = ["a text that is longer than one window of twenty-four", "short", "mid length"]
    ids = [np.array(byte_tokenizer().encode(text).ids) for text in texts]
    arrays = [mx.array(array) for array in windows_of(ids, 24)]
    got = text_embeddings(embedder.model, arrays[0], arrays[1], arrays[2], len(texts))
    np.testing.assert_allclose(np.array(got), embedder.embed(texts), atol=1e-5)
    assert isinstance(embedder.model, LanguageMixer)
    np.testing.assert_allclose(embed_windows(embedder.model, ids), embedder.embed(texts), atol=1e-5)


def test_chunks_hold_every_token_once_and_few_shapes() -> None:
    rng = np.random.default_rng(0)
    texts = [rng.integers(1, 99, length) for length in rng.integers(1, 300, 60)]
    chunks = chunks_of(texts, context_length=128, tokens_per_chunk=1024)
    found: list[list[int]] = [[] for _ in texts]
    for chunk in chunks:
        assert chunk.ids.size <= 1024
        for ids, length, text in zip(chunk.ids, chunk.lengths, chunk.texts, strict=True):
            found[text] += ids[:length].tolist()
    assert [sorted(tokens) for tokens in found] == [sorted(text.tolist()) for text in texts]
    assert len({chunk.ids.shape for chunk in chunks}) <= 5
    assert sum(chunk.ids.size for chunk in chunks) < 1.3 * sum(map(len, texts))


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
    drawn = draw_pairs(pairs, PairSettings(batch_size=16, token_drop=0.9), np.random.default_rng(0))
    assert len({int(passage[0]) for passage in drawn.passages}) == 16
    for query, passage, record in zip(drawn.queries, drawn.passages, drawn.records, strict=True):
        assert len(query)
        assert set(query) == set(passage) == {record}


def test_wrong_answers_follow_the_passages_of_a_batch_in_order() -> None:
    passages = [np.full(20, number) for number in range(30)]
    queries = [[np.full(2, number)] * (1 + number % 3) for number in range(30)]
    drawn = draw_pairs(
        TokenPairs(passages, queries),
        PairSettings(batch_size=8, span_share=0.5),
        np.random.default_rng(0),
        lambda pair, step, _: [(pair + step) % 30, (pair + step + 1) % 30],
        step=4,
    )
    assert [int(passage[0]) for passage in drawn.passages] == drawn.records.tolist()
    wrong = drawn.records[8:].reshape(8, 2)
    assert (wrong[:, 0] == (drawn.records[:8] + 4) % 30).all()
    assert (wrong[:, 1] == (drawn.records[:8] + 5) % 30).all()
    firsts = np.cumsum([0, *map(len, queries[:-1])])
    spans = 0
    for number, record in zip(drawn.asked, drawn.records, strict=False):
        spans += number == -1
        assert number == -1 or 0 <= number - firsts[record] < len(queries[record])
    assert 0 < spans < 8
