"""Ways to find, compared on the same trials."""

import numpy as np
import pytest

from mlx_mixer.training.bm25 import BM25Scorer
from mlx_mixer.training.evaluate import draw_trials, top1_among, vector_scorer
from mlx_mixer.training.side_by_side import Outcomes, compare

RNG = np.random.default_rng(5)
WORDS = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen"]
PASSAGES = [" ".join(RNG.choice(WORDS, 5)) for _ in range(60)]
QUERIES = [passage.rsplit(maxsplit=3)[0] if row % 3 else None for row, passage in enumerate(PASSAGES)]
HAS_QUERY = np.array([query is not None for query in QUERIES])


def unit(seed: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    passages = rng.standard_normal((60, 6)) + 0.5
    queries = passages + noise * rng.standard_normal((60, 6))
    return tuple(
        (side / np.linalg.norm(side, axis=1, keepdims=True)).astype(np.float32) for side in (queries, passages)
    )


def test_every_way_is_judged_on_the_same_trials_by_its_equation() -> None:
    words, near, far = BM25Scorer(QUERIES, PASSAGES), unit(1, 0.5), unit(2, 2.0)
    found = compare(8, HAS_QUERY, words, {"near": near, "far": far}, queries=60, seed=3, meaning=0.3)
    for name, sides in (("near", near), ("far", far)):
        alone = top1_among(8, HAS_QUERY, vector_scorer(*sides), queries=60, seed=3)
        assert (found.accuracy(name), len(found.records)) == (alone.accuracy, alone.queries)
        mean = sides[1].mean(axis=0)
        queries, passages = (side - mean for side in sides)
        right = []
        for drawn, asking in draw_trials(8, HAS_QUERY, queries=60, seed=3):
            for place in asking:
                bm25 = words(drawn[[place]], drawn)[0].astype(np.float64)
                query = queries[drawn[place]]
                cosines = passages[drawn] @ query / np.linalg.norm(passages[drawn], axis=1) / np.linalg.norm(query)
                mixed = 0.7 * bm25 / max(bm25.max(), 1e-30) + 0.3 * np.clip(cosines, 0, 1)
                right.append(mixed.argmax() == place)
        assert found.right[f"{name}+bm25"].tolist() == right
    assert found.accuracy("bm25") == top1_among(8, HAS_QUERY, words, queries=60, seed=3).accuracy


def test_a_difference_is_paired_and_its_interval_counts_a_record_once() -> None:
    records = np.array([0, 0, 1, 1, 2, 2])
    first, second = np.array([1, 1, 1, 1, 0, 0], bool), np.array([0, 0, 1, 1, 0, 0], bool)
    mean, half = Outcomes(9, records, {"a": first, "b": second}).difference("a", "b")
    assert mean == pytest.approx(1 / 3)
    # Three records with 1, 0 and 0: their mean has the standard error sqrt(2/9 / 3).
    assert half == pytest.approx(1.96 * np.sqrt(2 / 27))
    alone = Outcomes(9, np.arange(6), {"a": first, "b": second})
    assert alone.difference("a", "b")[1] < half
    assert alone.half_width("a") == pytest.approx(1.96 * np.sqrt(2 / 3 * 1 / 3 / 6))
