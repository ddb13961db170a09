"""The fused score against its equation, one candidate at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_mixer.documents.fusion import FusionWeights, fuse

CANDIDATES = st.lists(
    st.tuples(st.floats(0, 30), st.floats(-1, 1), st.floats(0, 1)),
    min_size=1,
    max_size=20,
)


@given(CANDIDATES, st.floats(0, 1), st.floats(0, 0.5))
@settings(max_examples=200)
def test_the_score_follows_its_equation(
    candidates: list[tuple[float, float, float]], meaning: float, name: float
) -> None:
    bm25, cosines, names = (np.array(column) for column in zip(*candidates, strict=True))
    highest = max(bm25)
    expected = [
        (1 - meaning) * (b / highest if highest else 0.0) + meaning * min(max(c, 0.0), 1.0) + name * n**3
        for b, c, n in candidates
    ]
    np.testing.assert_allclose(fuse(bm25, cosines, names, meaning=meaning, name=name), expected, atol=1e-12)


def test_without_embeddings_words_carry_the_whole_score() -> None:
    scores = fuse(np.array([2.0, 1.0]), None, np.zeros(2), meaning=0.3, name=0.1)
    assert scores.tolist() == [1.0, 0.5]


def test_a_candidate_without_a_vector_is_taken_for_average() -> None:
    cosines = np.array([0.8, np.nan, -0.5, 0.4])
    known = np.array([0.8, 0.4, -0.5, 0.4])  # mean of 0.8, 0 and 0.4
    bm25, names = np.array([3.0, 4.0, 2.0, 1.0]), np.zeros(4)
    np.testing.assert_allclose(
        fuse(bm25, cosines, names, meaning=0.4, name=0.0), fuse(bm25, known, names, meaning=0.4, name=0.0)
    )


@given(CANDIDATES)
@settings(max_examples=50)
def test_weight_zero_keeps_the_order_of_bm25(candidates: list[tuple[float, float, float]]) -> None:
    bm25, cosines, _ = (np.array(column) for column in zip(*candidates, strict=True))
    scores = fuse(bm25, cosines, np.zeros(len(bm25)), meaning=0.0, name=0.1)
    assert (np.argsort(-scores, kind="stable") == np.argsort(-bm25 / max(bm25.max(), 1e-300), kind="stable")).all()


@pytest.mark.parametrize(("coverage", "weight"), [(1.0, 0.2), (0.0, 0.6), (0.5, 0.4)])
def test_meaning_counts_more_the_less_the_words_are_found(coverage: float, weight: float) -> None:
    weights = FusionWeights(meaning=0.2, meaning_uncovered=0.6, meaning_exact=0.1)
    assert weights.for_query(is_exact=False, coverage=coverage) == pytest.approx(weight)
    assert weights.for_query(is_exact=True, coverage=coverage) == 0.1
