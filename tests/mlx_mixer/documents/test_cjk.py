"""Words are found in text that is written without spaces."""

from contextlib import closing
from pathlib import Path

import pytest

from mlx_mixer.documents.database import connect, open_database
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.words import identifier_words
from tests.mlx_mixer.documents.helpers import old_library_file, write_tree

TEXTS = {
    "zh.md": "我们使用Python测试语言模型的搜索功能。\n",
    "ja.md": "日本語の文書を検索するためのツールです。\n",
    "ko.md": "한국어 문서를 검색합니다.\n",
    "en.md": "Python and nothing else.\n",
}


@pytest.fixture
def filled(library: Library, tmp_path: Path) -> Library:
    library.add([write_tree(tmp_path / "docs", TEXTS)])
    return library


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("测试", {"zh"}),
        ("语言模型", {"zh"}),
        ("怎样测试模型", {"zh"}),
        ('"语言模型"', {"zh"}),
        ('"模型语言"', set()),
        ("检", set()),
        ("搜", {"zh"}),
        ("能", {"zh"}),
        ("検索", {"ja"}),
        ("ツール", {"ja"}),
        ("문서", {"ko"}),
        ("Python", {"zh", "en"}),
        ("Python -测试", {"en"}),
        ("python测试", {"zh", "en"}),
    ],
)
def test_a_part_of_a_run_of_letters_is_found(filled: Library, query: str, expected: set[str]) -> None:
    assert {Path(hit.path).stem for hit in filled.search(query).hits} == expected


def test_the_letters_found_are_marked(filled: Library) -> None:
    (hit,) = filled.search("语言模型").hits
    assert [hit.snippet[start:end] for start, end in hit.marks] == ["语言模型"]
    assert hit.why == "words: 语言模型"


def test_the_index_holds_pairs_in_order_and_the_last_letter() -> None:
    assert identifier_words("测试模型 ok") == "测试 试模 模型 型"
    assert identifier_words("使用Python吧") == "使用 用 python 吧"
    assert identifier_words("plain words") == ""


def test_older_libraries_get_the_pairs(tmp_path: Path) -> None:
    path = old_library_file(tmp_path, version=3)
    with closing(connect(path)) as db:  # take back what version 3 added
        db.execute("BEGIN IMMEDIATE")
        for row in db.execute("SELECT id, heading, body, identifiers FROM chunks WHERE body GLOB '*测试*'").fetchall():
            db.execute(
                "INSERT INTO chunks_fts (chunks_fts, rowid, heading, body, identifiers) VALUES ('delete', ?, ?, ?, ?)",
                row,
            )
            db.execute("UPDATE chunks SET identifiers = '' WHERE id = ?", [row[0]])
            db.execute("INSERT INTO chunks_fts (rowid, heading, body) VALUES (?, ?, ?)", row[:3])
        db.execute("PRAGMA user_version = 2")
        db.execute("COMMIT")
        assert not db.execute("SELECT 1 FROM chunks_fts WHERE chunks_fts MATCH '\"测试\"'").fetchall()
    with closing(open_database(path)) as db:
        assert db.execute("SELECT identifiers FROM chunks WHERE body GLOB '*测试*'").fetchone()[0].startswith("搜索 索")
        assert len(db.execute("SELECT 1 FROM chunks_fts WHERE chunks_fts MATCH '\"测试\"'").fetchall()) == 1
        db.execute("INSERT INTO chunks_fts (chunks_fts, rank) VALUES ('integrity-check', 1)")
