"""Figures on examples small enough to work out by hand."""

import math

import mlx.core as mx
import numpy as np
import pytest

from mlx_mixer.errors import MixerError, UsageError
from mlx_mixer.models.language import next_token_loss
from mlx_mixer.training.bm25 import BM25Scorer, any_word
from mlx_mixer.training.evaluate import Top1, hard_query_mask, language_score, shortened, top1_among, vector_scorer
from mlx_mixer.training.windows import cut_windows
from tests.tiny import tiny_model


def test_perplexity_is_the_exponential_of_the_mean_loss() -> None:
    model = tiny_model()
    texts = [[3, 4, 5, 6], [7] * 40, [9, 9]]
    score = language_score(model, cut_windows(texts, 24, 2), num_bytes=100)
    losses = []
    for text in texts:
        ids = [*text, 2]
        for start in range(0, len(ids) - 1, 23):
            window = mx.array([ids[start : start + 24]])
            losses += [next_token_loss(model, window).item()] * (window.shape[1] - 1)
    assert score.tokens == len(losses) == sum(map(len, texts))
    assert score.perplexity == pytest.approx(math.exp(np.mean(losses)), rel=1e-3)
    assert score.bits_per_byte == pytest.approx(sum(losses) / math.log(2) / 100, rel=1e-3)


def test_top1_counts_the_queries_whose_own_passage_scores_highest() -> None:
    queries = np.eye(4, dtype=np.float32)
    passages = queries[[1, 0, 2, 3]]  # two passages changed places
    mask = np.array([True, True, True, False])
    found = top1_among(4, mask, vector_scorer(queries, passages), queries=3, seed=0)
    assert found == Top1(candidates=4, accuracy=pytest.approx(1 / 3), queries=3)
    assert found.half_width == pytest.approx(1.96 * math.sqrt(1 / 3 * 2 / 3 / 3))


def test_records_without_a_query_are_wrong_answers_only() -> None:
    asked: list[int] = []

    def scorer(rows: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        asked.extend(rows.tolist())
        assert len(drawn) == 3
        return np.zeros((len(rows), 3), np.float32)

    top1_among(3, np.array([True] + [False] * 5), scorer, queries=4, seed=0)
    assert set(asked) == {0}


def test_trials_are_the_same_for_every_scorer_and_differ_by_seed() -> None:
    def drawn_with(seed: int) -> list[list[int]]:
        seen: list[list[int]] = []

        def scorer(rows: np.ndarray, drawn: np.ndarray) -> np.ndarray:
            seen.append(drawn.tolist())
            return np.eye(len(rows), len(drawn), dtype=np.float32)

        top1_among(5, np.ones(50, bool), scorer, queries=20, seed=seed)
        return seen

    assert drawn_with(0) == drawn_with(0)
    assert drawn_with(0) != drawn_with(1)


def test_impossible_trials_are_refused() -> None:
    scorer = vector_scorer(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32))
    with pytest.raises(MixerError, match="3 candidates were asked for, but there are 2"):
        top1_among(3, np.ones(2, bool), scorer, queries=1, seed=0)
    with pytest.raises(MixerError, match="no record has a query"):
        top1_among(2, np.zeros(2, bool), scorer, queries=1, seed=0)


def test_keywords_find_stems_and_ignore_what_fts_would_take_for_syntax() -> None:
    queries = ["sorting AND (files*", None, "zebra"]
    passages = ["Sorts a file.", "Prints a page.", "Nothing of that."]
    scores = BM25Scorer(queries, passages)(np.array([0, 2]), np.array([1, 0, 2]))
    assert scores[0].argmax() == 1
    assert (scores[1] == 0).all()
    assert any_word('a "b" OR') == '"a" OR "b" OR "OR"'
    assert hard_query_mask(queries).tolist() == [True, False, True]


def test_short_vectors_are_the_first_values_at_length_one() -> None:
    vectors = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    expected = vectors[:, :2] / np.linalg.norm(vectors[:, :2], axis=1, keepdims=True)
    np.testing.assert_allclose(shortened(vectors, 2), expected, rtol=1e-6)
    assert shortened(vectors, None) is vectors
    with pytest.raises(UsageError, match="7 values were asked for"):
        shortened(vectors, 7)
