"""Which wrong answers are found, and which must never be."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mlx_mixer.errors import UsageError
from mlx_mixer.training.bm25 import BM25Index, BM25Scorer
from mlx_mixer.training.data import Pair
from mlx_mixer.training.hard_negatives import (
    MiningSettings,
    ModelMiner,
    SameText,
    WordMiner,
    nearest,
    rivals_from,
)

PAIRS = [
    Pair("To sort a list of numbers in Python, call sorted with the list and it returns a new one.", ("sort a list",)),
    Pair("to sort a list of  numbers in python, call SORTED with the list and it returns a new one.", ("sorting",)),
    Pair(
        "To sort a list of numbers in Python, call sorted with the list and see what happens next.", ("order a list",)
    ),
    Pair("A list may be emptied with clear.", ("empty a list",)),
    Pair("Sort orders of the database are called collations.", ("sort order",)),
    Pair("Every song can be sorted by name.", ("Sort  a list",)),
    Pair("The weather is fine.", ("weather",)),
]


def test_equal_nearly_equal_and_equally_asked_passages_say_the_same() -> None:
    same = SameText(PAIRS)
    assert [other for other in range(len(PAIRS)) if same(0, other)] == [0, 1, 2, 5]
    assert not same(3, 4)
    excluded = same.excluded(np.array([0, 3, 1, 0, 6]), 2)
    assert np.argwhere(excluded).tolist() == [[0, 2], [0, 3]]


def test_words_find_rivals_and_never_what_says_the_same() -> None:
    miner = WordMiner(PAIRS, SameText(PAIRS), pool=4)
    assert set(miner(0, 0)) == {3, 4}
    assert miner(6, 0) == []


def test_the_index_ranks_as_the_baseline_does() -> None:
    words = ["red", "green", "blue", "small", "large", "old", "new", "round", "flat"]
    rng = np.random.default_rng(0)
    passages = [" ".join(rng.choice(words, 6)) for _ in range(50)]
    index, scorer = BM25Index(passages), BM25Scorer(["small round"], passages)
    scores = scorer(np.array([0]), np.arange(50))[0]
    best = index.best("small round", 10)
    np.testing.assert_allclose(scores[best], np.sort(scores)[::-1][:10], rtol=1e-6)
    assert index.best("?!", 10) == []


def test_only_the_rarest_words_of_a_long_query_count() -> None:
    passages = ["common word"] * 3000 + ["common rare"]
    assert BM25Index(passages).best("common word rare", 1) == [3000]


def test_nearest_is_a_sort_by_cosine() -> None:
    rng = np.random.default_rng(0)
    queries, passages = rng.standard_normal((7, 3)), rng.standard_normal((20, 3))
    expected = np.argsort(-(queries @ passages.T), axis=1)[:, :5]
    np.testing.assert_array_equal(nearest(queries.astype(np.float32), passages.astype(np.float32), 5), expected)
    assert nearest(queries.astype(np.float32), passages[:2].astype(np.float32), 5).shape == (7, 2)


def test_the_model_looks_anew_and_a_resumed_run_finds_what_was_found(tmp_path: Path) -> None:
    asked: list[int] = []

    def embed(among: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        asked.append(len(among))
        rng = np.random.default_rng(len(asked))
        return rng.standard_normal((7, 4)).astype(np.float32), rng.standard_normal((len(among), 4)).astype(np.float32)

    def miner() -> ModelMiner:
        return ModelMiner(embed, 7, SameText(PAIRS), MiningSettings(every=10, among=5, pool=3), tmp_path, seed=0)

    first = miner()
    found = {step: [list(first(pair, step)) for pair in range(7)] for step in (0, 9, 10)}
    assert found[0] == found[9] != found[10]
    assert asked == [5, 5]
    resumed = miner()
    assert [list(resumed(pair, 5)) for pair in range(7)] == found[0]
    assert [list(resumed(pair, 15)) for pair in range(7)] == found[10]
    assert asked == [5, 5]
    assert all(not SameText(PAIRS)(pair, other) for pair in range(7) for other in found[0][pair])


def test_every_pair_gets_as_many_and_each_miner_has_its_share() -> None:
    same = SameText(PAIRS)
    draw = rivals_from([lambda *_: [3], lambda *_: [4, 6]], len(PAIRS), same, 3)
    for seed in range(20):
        drawn = list(draw(0, 0, np.random.default_rng(seed)))
        assert sorted(drawn) == [3, 4, 6]
    lonely = rivals_from([lambda *_: []], 2, SameText(PAIRS[:2]), 2)
    assert list(lonely(0, 0, np.random.default_rng(0))) == [0, 0]


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="drawn from a pool of 4"):
        MiningSettings(count=5, pool=4)
    with pytest.raises(UsageError, match="must be one of bm25, model, both"):
        MiningSettings(miner="words")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="every of the mining is 0"):
        MiningSettings(every=0)
