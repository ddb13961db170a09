"""How good a hit is has a scale of its own, which a question without an answer does not reach."""

import math
from pathlib import Path

import numpy as np
import pytest

from mlx_mixer.documents.calibration import Calibration, best_of, distance_from_chance
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.vectors import Null
from mlx_mixer.embedding import load_embedder
from tests.mlx_mixer.documents.helpers import write_tree

PAPERS = {
    "bread.md": "# Bread\n\nMix flour, water and salt, knead the dough, let it rise overnight and bake it hot.\n",
    "trees.md": "# Apple trees\n\nPrune an apple tree in late winter, before the buds swell; leave strong shoots.\n",
    "boats.md": "# Boats\n\nSand the hull of a wooden boat and paint it twice before it goes into the water.\n",
    "cache.py": '"""Decode state."""\n\n\ndef trim(cache, count):\n    """Forget the newest tokens."""\n',
}


def test_the_nearest_of_unrelated_passages_lies_at_no_distance_from_chance() -> None:
    rng = np.random.default_rng(3)
    for passages in (1000, 30_000):
        cosines = rng.normal(0.1, 0.05, (40, passages))
        distances = [distance_from_chance(row.max(), Null(0.1, 0.05), passages) for row in cosines]
        assert abs(np.mean(distances)) < 0.6
    assert distance_from_chance(0.5, Null(0.1, 0.05), 1000) == pytest.approx(8 - math.sqrt(2 * math.log(1000)))
    assert distance_from_chance(0.5, Null(0.0, 0.0), 10) == 0.0


def test_more_of_the_words_and_a_nearer_meaning_never_make_a_match_worse() -> None:
    order = ("none", "weak", "strong").index
    judge = Calibration().judge
    for distance in (None, -4.0, -1.0, 0.0, 3.0):
        grades = [order(judge(share, distance)) for share in np.linspace(0, 1, 21)]
        assert grades == sorted(grades)
        assert grades[-1] == order("strong") or distance == -4.0
    for share in (0.0, 0.2, 0.5):
        grades = [order(judge(share, distance)) for distance in np.linspace(-5, 8, 27)]
        assert grades == sorted(grades)


def test_the_best_of_no_hits_is_none() -> None:
    assert best_of([]) == "none"
    assert best_of(["none", "weak"]) == "weak"
    assert best_of(["weak", "strong", "none"]) == "strong"


@pytest.mark.parametrize("words_only", [True, False])
def test_a_question_with_an_answer_is_told_from_one_without(library: Library, tmp_path: Path, words_only: bool) -> None:
    library.attach(load_embedder())
    library.add([write_tree(tmp_path / "docs", PAPERS)])
    for question in ("when to prune an apple tree", "paint a wooden boat", "knead the dough"):
        result = library.search(question, words_only=words_only)
        assert (result.match, result.hits[0].match) == ("strong", "strong")
    for question in ("kubernetes water ingress annotations sticky sessions", "mortgage rates for first time buyers"):
        assert library.search(question, words_only=words_only).match == "none"
