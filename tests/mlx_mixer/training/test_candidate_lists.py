"""Lists of candidates to learn from are those of a search, best first."""

import numpy as np
import pytest

from mlx_mixer.documents.fusion import FusionWeights, fuse
from mlx_mixer.errors import MixerError
from mlx_mixer.training.candidate_lists import NOT_THERE, CandidateLists, draw_lists, lists_of
from mlx_mixer.training.data import Pair
from mlx_mixer.training.frozen_pairs import FrozenPairs
from mlx_mixer.training.hard_negatives import SameText
from mlx_mixer.training.word_scores import WordScores

COUNT = 40


def texts() -> list[Pair]:
    """Pairs of which every two neighbours have one passage, and some ask for it in its words."""
    return [
        Pair(
            f"passage about thing{number // 2}", (f"{'thing' if number % 3 else 'no'}{number // 2}", f"query {number}")
        )
        for number in range(COUNT)
    ]


def frozen_pairs(dims: int = 6) -> FrozenPairs:
    rng = np.random.default_rng(0)
    vectors = [rng.standard_normal((size, dims)).astype(np.float32) for size in (COUNT, 2 * COUNT)]
    passages, queries = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in vectors)
    return FrozenPairs(passages, queries, np.arange(0, 2 * COUNT, 2), SameText(texts()))


def word_scores() -> WordScores:
    return WordScores([query for pair in texts() for query in pair.queries], [pair.passage for pair in texts()])


@pytest.mark.parametrize("words", [None, word_scores()], ids=["cosine", "search"])
def test_lists_are_the_best_of_a_search_and_say_where_the_right_one_is(words: WordScores | None) -> None:
    pairs = frozen_pairs()
    lists = CandidateLists(pairs, words, 10)
    found = [lists.of(pair) for pair in range(COUNT)]
    assert {each.place == NOT_THERE for each in found} == {True, False}
    for pair, each in enumerate(found):
        query = 2 * pair
        cosines = (pairs.passages @ pairs.queries[query]).astype(np.float64)
        scores = cosines
        if words is not None:
            bm25, coverage = words(query)
            weight = FusionWeights().for_query(is_exact=False, coverage=coverage)
            scores = fuse(bm25.astype(np.float64), cosines, np.zeros(COUNT), meaning=weight, name=0.0)
            np.testing.assert_allclose(each.words, bm25[each.pairs])
        others = [other for other in np.argsort(-scores, kind="stable") if other // 2 != pair // 2 or other == pair]
        assert each.pairs.tolist() == others[:10]
        np.testing.assert_allclose(each.scores, scores[each.pairs], rtol=1e-6)
        assert each.place == (others.index(pair) if pair in others[:10] else NOT_THERE)


def test_a_model_sees_the_query_first_and_then_its_candidates() -> None:
    pairs = frozen_pairs()
    lists = CandidateLists(pairs, None, 5)
    rows = lists_of(pairs, np.array([4, 8]), [lists.of(2), lists.of(4)])
    assert rows.embeddings.shape == (2, 6, 6)
    np.testing.assert_array_equal(rows.embeddings[1, 0], pairs.queries[8])
    np.testing.assert_array_equal(rows.embeddings[1, 1:], pairs.passages[lists.of(4).pairs])


def test_shorter_lists_keep_the_right_one_and_the_order() -> None:
    lists = CandidateLists(frozen_pairs(), None, 10)
    drawn = draw_lists(lists, 8, 4, np.random.default_rng(1))
    assert drawn.scores.shape == (8, 4)
    assert (np.diff(drawn.scores, axis=1) <= 0).all()
    whole = draw_lists(lists, 8, 10, np.random.default_rng(1))
    for row in range(8):
        query, right = drawn.embeddings[row, 0], drawn.embeddings[row, 1 + drawn.places[row]]
        (pair,) = np.flatnonzero((lists.pairs.passages == right).all(axis=1))
        np.testing.assert_array_equal(lists.pairs.queries[2 * pair], query)
    assert len(set(whole.places.tolist())) > 1


def test_few_passages_stand_there_more_than_once_and_none_is_no_list() -> None:
    pairs = frozen_pairs()
    few = FrozenPairs(pairs.passages[:3], pairs.queries[:6], pairs.first_query[:3], pairs.same)
    found = CandidateLists(few, None, 3).of(0)
    assert sorted(found.pairs.tolist()) == [0, 2, 2]
    same = FrozenPairs(pairs.passages[:2], pairs.queries[:4], pairs.first_query[:2], pairs.same)
    with pytest.raises(MixerError, match="no passage that says something else"):
        CandidateLists(same, None, 2).of(0)
