"""Rare words are counted, common ones estimated, and large libraries are ranked by what says most."""

from pathlib import Path

import pytest

from mlx_mixer.documents import frequency, lexical
from mlx_mixer.documents.frequency import TermCounts
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.query import parse_query
from tests.mlx_mixer.documents.helpers import write_tree


@pytest.fixture
def filled(library: Library, tmp_path: Path) -> Library:
    files = {
        f"{n}.txt": "common " + ("half " if n % 2 else "") + ("tenth " if n % 10 == 0 else "") + f"only{n}\n"
        for n in range(300)
    }
    library.add([write_tree(tmp_path / "docs", files)])
    return library


def test_counts_are_exact_below_the_sample_and_close_above_it(filled: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    db = filled._connections.get()
    exact = {"common": 300, "half": 150, "tenth": 30, "only7": 1, "absent": 0}
    assert TermCounts().counts(db, tuple(exact)) == exact
    monkeypatch.setattr(frequency, "_SAMPLE", 20)
    assert TermCounts().counts(db, tuple(exact)) == pytest.approx(exact, rel=0.15)


def test_counts_are_remembered_until_the_library_grows(filled: Library, tmp_path: Path) -> None:
    db = filled._connections.get()
    counts = TermCounts()
    assert counts.counts(db, ["only7"]) == {"only7": 1}
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    counts.counts(db, ["only7"])
    db.set_trace_callback(None)
    assert not any("MATCH" in statement for statement in statements)
    filled.add([write_tree(tmp_path / "more", {"new.txt": "only7\n"})])
    assert counts.counts(db, ["only7"]) == {"only7": 2}


def test_a_rare_word_says_more_than_a_common_one(filled: Library) -> None:
    db = filled._connections.get()
    idf = list(TermCounts().idfs(db, ["common", "half", "tenth", "only7", "absent"]).values())
    assert idf == sorted(idf)
    assert idf[0] > 0


def test_common_words_are_left_out_beside_rare_ones_in_a_large_library(
    filled: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lexical, "LARGE_LIBRARY", 100)
    monkeypatch.setattr(lexical, "_RANKED_ROWS", 50)
    db = filled._connections.get()

    def found(text: str) -> list[int]:
        return [match.chunk for match in lexical.search_words(db, parse_query(text), 100)]

    assert found("common half only7") == found("only7")
    assert len(found("common tenth only7")) == 31
    both = [match.chunk for match in lexical.search_words(db, parse_query('"half" "common"'), 200)]
    assert found("common half") == both[:100]  # nothing rare: what holds all of it
    assert len(found("common -half")) == 100
    assert set(found("common -half")).isdisjoint(both)


def test_a_ranking_that_takes_too_long_gives_way_to_a_cheaper_one(
    filled: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lexical, "_DEADLINE_SECONDS", -1.0)
    monkeypatch.setattr(lexical, "_STEPS_BETWEEN_LOOKS", 1)
    db = filled._connections.get()
    matches = lexical.search_words(db, parse_query("common tenth"), 100)
    assert len(matches) == 30
    assert {match.bm25 for match in matches} == {0.0}
    assert db.execute("SELECT count(*) FROM chunks").fetchone() == (300,)  # later statements run on
