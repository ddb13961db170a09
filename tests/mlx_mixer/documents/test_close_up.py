"""What is said of a few chunks is what the library's own index would say of them."""

from pathlib import Path

import pytest

from mlx_mixer.documents.close_up import END_MARK, START_MARK, ChunkMatches, CloseUp, matches_in, split_marks
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.query import match_term, parse_query
from tests.mlx_mixer.documents.helpers import write_tree

TREE = {
    "trees.md": "# Trees\n\nPrune the apple tree in winter.\n\n## Water\n\nWater young trees; they drank before.\n",
    "server.py": "def trimCache(maxSize):\n    return load_model(maxSize)\n\n\nclass HTTPServer:\n    pass\n",
    "zh.md": "# 搜索\n\n我们使用Python测试语言模型的搜索功能。\n",
    "café.txt": "Le café est fermé; the Trees are not.\n",
}
QUERIES = [
    "water trees",
    '"apple tree" winter',
    "trim cache",
    "load_model",
    "HTTPServer maxsize",
    "语言模型",
    "cafe -water",
    "drinking",
    "zeppelin",
    'the of"',
]


@pytest.fixture
def db(library: Library, tmp_path: Path) -> Database:
    library.add([write_tree(tmp_path / "docs", TREE)])
    return library._connections.get()


def all_chunks(db: Database) -> list[int]:
    return [chunk for (chunk,) in db.execute("SELECT id FROM chunk_places")]


@pytest.mark.parametrize("text", QUERIES)
def test_marks_are_those_of_the_large_index(db: Database, text: str) -> None:
    query = parse_query(text)
    expected = {
        chunk: split_marks(body)[1]
        for chunk, body in db.execute(
            "SELECT rowid, highlight(chunks_fts, 1, ?, ?) FROM chunks_fts WHERE chunks_fts MATCH ?",
            [START_MARK, END_MARK, query.match_expression()],
        )
    }
    with CloseUp(db) as close_up:
        close_up.add(all_chunks(db))
        found = close_up.matches(query)
    assert found.keys() == expected.keys()
    for chunk, spans in expected.items():
        assert set(spans) <= set(found[chunk].spans)  # parts of names are marked as well
        assert matches_in(db, query, chunk) == found[chunk]


@pytest.mark.parametrize("text", QUERIES)
def test_words_held_are_those_of_the_large_index(db: Database, text: str) -> None:
    terms = parse_query(text).words
    expected = {
        term: {c for (c,) in db.execute("SELECT rowid FROM chunks_fts WHERE chunks_fts MATCH ?", [match_term(term)])}
        for term in terms
    }
    with CloseUp(db) as close_up:
        first, *others = all_chunks(db)
        close_up.add([first])
        assert close_up.held_terms(first, terms) == tuple(term for term in terms if first in expected[term])
        close_up.add(others)
        for chunk in (first, *others):
            assert close_up.held_terms(chunk, terms) == tuple(term for term in terms if chunk in expected[term])


def test_what_is_not_in_the_library_is_passed_over(db: Database) -> None:
    with CloseUp(db) as close_up:
        close_up.add([10_000])
        assert close_up.chunk(10_000) is None
        assert close_up.matches(parse_query("water")) == {}
    assert matches_in(db, parse_query("water"), 10_000) == ChunkMatches((), ())


def test_an_empty_query_marks_nothing(db: Database) -> None:
    assert matches_in(db, parse_query(""), all_chunks(db)[0]) == ChunkMatches((), ())
