"""Each boost adds its weight to the places it is for, and to no other."""

from pathlib import Path

import numpy as np
import pytest

from mlx_mixer.documents.boosts import NO_BOOSTS, BoostWeights, ChunkText, boosted
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.query import parse_query
from tests.mlx_mixer.documents.helpers import write_tree

TEXTS = [
    ChunkText("Cache", "def trim_cache(count):\n    return count\n", "/w/src/cache.py"),
    ChunkText("Use › Trimming", "call trim_cache(3) here\n", "/w/docs/use.md"),
    ChunkText("", "assert trim_cache(1)\n", "/w/tests/test_cache.py"),
    ChunkText("", "class Cache {\n  trim_cache\n", "/w/node_modules/x/cache.js"),
]
PLACES = [(1, 0), (2, 0), (3, 0), (1, 1)]


def gains(query: str, **weights: float) -> list[float]:
    scores = np.array([0.5, 0.6, 0.7, 0.8])
    chosen = BoostWeights(**{**vars(NO_BOOSTS), **weights})
    return [round(float(gain), 6) for gain in boosted(scores, PLACES, TEXTS, parse_query(query), chosen) - scores]


def test_the_definition_of_a_name_is_lifted() -> None:
    assert gains("trim_cache", definition=0.2) == [0.2, 0, 0, 0]
    assert gains("Cache", definition=0.2) == [0, 0, 0, 0.2]
    assert gains("how does the Cache work", definition=0.2) == [0, 0, 0, 0]
    assert gains('"("', definition=0.2) == [0, 0, 0, 0]


def test_headings_count_by_the_share_of_words_they_hold() -> None:
    assert gains("trimming the cache", heading=0.1) == [0.05, 0.05, 0, 0]


def test_tests_and_copies_of_other_code_lose_a_part_unless_they_are_asked_for() -> None:
    assert gains("trim cache", aside=0.1) == [0, 0, -0.07, -0.08]
    assert gains("cache tests", aside=0.1) == [0, 0, 0, 0]


def test_several_places_of_a_file_lift_each_other() -> None:
    assert gains("trim cache", same_file=0.1) == [0.1, 0, 0, 0.1]


def test_without_weights_nothing_changes() -> None:
    assert gains("trim_cache") == [0, 0, 0, 0]
    assert not NO_BOOSTS.has_any


@pytest.mark.parametrize(
    ("query", "first"), [("parse_options", "options.py"), ("parse_options tests", "test_options.py")]
)
def test_a_search_for_a_name_shows_its_definition_first(
    library: Library, tmp_path: Path, query: str, first: str
) -> None:
    files = {
        "options.py": "import sys\n\n\ndef parse_options(arguments):\n    return [each for each in arguments]\n",
        "tests/test_options.py": "parse_options()\nassert parse_options\ntests(parse_options)\n",
        "use.md": "parse_options, parse_options and parse_options\n",
    }
    library.add([write_tree(tmp_path / "docs", files)])
    assert Path(library.search(query).hits[0].path).name == first
