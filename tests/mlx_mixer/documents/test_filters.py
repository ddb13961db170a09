"""Fields of a query choose files before anything is ranked, and nothing typed is an error."""

import os
import time
from datetime import date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_mixer.documents.filters import Filters, parse_moment
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.query import parse_query
from tests.mlx_mixer.documents.helpers import WatchedEmbedder, write_tree

TODAY = date(2026, 3, 15)


def moment(year: int, month: int, day: int) -> float:
    return datetime(year, month, day).astimezone().timestamp()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", (2026, 1, 31)),
        ("2026-01", (2026, 1, 1)),
        ("2025", (2025, 1, 1)),
        ("today", (2026, 3, 15)),
        ("Yesterday", (2026, 3, 14)),
        ("7d", (2026, 3, 8)),
        ("2w", (2026, 3, 1)),
    ],
)
def test_dates_are_read_as_people_write_them(text: str, expected: tuple[int, int, int]) -> None:
    assert parse_moment(text, TODAY) == moment(*expected)


@pytest.mark.parametrize("text", ["2026-13", "2026-02-30", "soon", "7x", "99999y", "0000", "-1d", ""])
def test_what_is_no_date_is_none(text: str) -> None:
    assert parse_moment(text, TODAY) is None


def test_fields_become_filters_and_leave_the_words() -> None:
    query = parse_query('cache type:md path:"my docs" -in:old after:2026-01 before:today trim', today=TODAY)
    assert query.terms == ("cache", "trim")
    assert query.text == "cache trim"
    assert query.filters == Filters(
        path=("my docs",),
        type=("md", "markdown", "mdown", "mkd"),
        not_root=("old",),
        after=moment(2026, 1, 1),
        before=moment(2026, 3, 15),
    )
    assert query.notes == ()


def test_an_unknown_field_is_words_with_a_note() -> None:
    query = parse_query("size:big after:soon")
    assert query.terms == ("size big", "after soon")
    assert query.filters.is_empty
    assert "size: is no filter" in query.notes[0]
    assert "after:soon is no date" in query.notes[1]
    assert parse_query("std::vector http://x 12:30 path:").notes == ()


def test_a_minus_turns_a_time_round() -> None:
    assert parse_query("-after:2026", today=TODAY).filters == parse_query("before:2026", today=TODAY).filters


@pytest.fixture
def filled(library: Library, tmp_path: Path) -> Library:
    trees = {
        "work": {"notes/a.md": "needle in work notes\n", "src/b.py": "# needle in code\n", "[x]/c.txt": "needle\n"},
        "home": {"d.md": "needle at home\n", "Letters/e.txt": "a needle in a letter\n"},
    }
    for root, files in trees.items():
        library.add([write_tree(tmp_path / root, files)])
    os.utime(tmp_path / "home/d.md", (time.time() - 3 * 86400,) * 2)
    library.refresh()
    return library


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("needle", "abcde"),
        ("needle type:md", "ad"),
        ("needle type:.PY", "b"),
        ("needle -type:text", "abd"),
        ("needle type:md type:py", "abd"),
        ("needle path:notes", "a"),
        ("needle path:letters/", "e"),
        ("needle path:*.md", "ad"),
        ("needle path:notes/*.md", "a"),
        ("needle path:[x]", "c"),
        ("needle -path:src -path:home", "ac"),
        ("needle in:work", "abc"),
        ("needle in:WORK type:md", "a"),
        ("needle -in:work", "de"),
        ("needle in:nowhere", ""),
        ("needle after:7d", "d"),
        ("needle before:7d", "abce"),
        ('needle "letter" in:home', "e"),
        ("needle -home", "abce"),
    ],
)
def test_filters_choose_files_in_both_legs(
    filled: Library, embedder: WatchedEmbedder, query: str, expected: str
) -> None:
    def found() -> str:
        return "".join(sorted(Path(hit.path).stem for hit in filled.search(query).hits))

    assert found() == expected
    filled.attach(embedder)
    filled.embed_pending()
    assert found() == expected


def test_a_folder_can_be_named_by_its_path(filled: Library, tmp_path: Path) -> None:
    hits = filled.search(f"needle in:{tmp_path}/work/src").hits
    assert [Path(hit.path).name for hit in hits] == ["b.py"]


def test_a_filter_finds_what_is_far_below_the_best(library: Library, embedder: WatchedEmbedder, tmp_path: Path) -> None:
    """A filter after the top 100 would leave nothing of the one weak match."""
    better = {f"many/{n}.txt": f"needle needle needle {n}\n" for n in range(250)}
    weak = {"one/far.md": "a needle somewhere in a text with very many other words in it, on and on\n"}
    library.attach(embedder)
    library.add([write_tree(tmp_path / "docs", better | weak)])
    assert [Path(hit.path).name for hit in library.search("needle", limit=300).hits].index("far.md") > 100
    (hit,) = library.search("needle path:one/").hits
    assert Path(hit.path).name == "far.md"
    (hit,) = library.search("zeppelin type:md").hits  # by meaning alone
    assert Path(hit.path).name == "far.md"


PIECES = [
    "path:",
    "type:",
    "-in:",
    "after:",
    "before:",
    '"',
    "'",
    "*",
    "?",
    "[",
    "]",
    "-",
    ":",
    "/",
    "~",
    "2026-01",
    "a",
]


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=12))
@settings(max_examples=150, deadline=None)
def test_any_text_with_fields_in_it_is_a_query(db_library: Library, pieces: list[str]) -> None:
    db_library.search("".join(pieces))
    db_library.search(" ".join(pieces), prefix=True)


@pytest.fixture(scope="module")
def db_library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("filters")
    library = Library(folder / "library.sqlite3")
    library.add([write_tree(folder / "docs", {"a.md": "a 2026 01 path type\n"})])
    return library
