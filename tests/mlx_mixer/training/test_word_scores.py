"""BM25 of every passage, beside what FTS5 itself says."""

import numpy as np

from mlx_mixer.training.bm25 import BM25Scorer
from mlx_mixer.training.word_scores import WordScores

PASSAGES = [
    "The cat sat on the mat, and cats like mats.",
    "A dog is no cat.",
    "Café au lait, s'il vous plaît",
    "nothing of the kind",
    "",
    "mat " * 40 + "of the house",
]
QUERIES = ["cats on a mat", "cafe", "the nothing of it", "absent words", "!?", "mat mat dog"]


def test_scores_are_those_of_fts5() -> None:
    scores = WordScores(QUERIES, PASSAGES)
    # A query's words count once, however often it says them.
    padded = [*QUERIES, *[None] * (len(PASSAGES) - len(QUERIES))]
    expected = BM25Scorer(padded, PASSAGES)(np.arange(len(QUERIES)), np.arange(len(PASSAGES)))
    assert (expected > 0).sum() > 8
    for query, row in enumerate(expected):
        np.testing.assert_allclose(scores(query)[0], row, rtol=1e-5, atol=1e-7)


def test_the_best_passages_say_how_much_of_a_query_is_held() -> None:
    scores = WordScores(QUERIES, PASSAGES)
    assert [round(scores(query)[1], 3) for query in range(5)] == [0.75, 1.0, 0.75, 0.0, 0.0]
