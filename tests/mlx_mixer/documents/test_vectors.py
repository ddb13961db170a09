"""The matrix in memory gives what a plain loop over the table gives, whatever was added and deleted."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_mixer.documents import vectors
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.database import open_database
from mlx_mixer.documents.vectors import VectorIndex, from_blob, to_blob

DIMS = 6


def unit(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Database:
    return open_database(tmp_path_factory.mktemp("vectors") / "library.sqlite3")


def add_content(db: Database, rows: npt.NDArray[np.float32], fingerprint: str = "f") -> int:
    digest = np.random.default_rng(db.execute("SELECT count(*) FROM sqlite_sequence").fetchone()[0]).bytes(4)
    last = db.execute("SELECT coalesce(max(id), 0) FROM contents").fetchone()[0]
    content = db.execute(
        "INSERT INTO contents (hash, reader, reader_version, title, encoding, characters, chunk_count)"
        " VALUES (?, 'text', ?, '', '', 0, ?)",
        [digest, last, len(rows)],
    ).lastrowid
    assert content is not None
    db.execute(
        "INSERT INTO vectors (content, fingerprint, dims, data) VALUES (?, ?, ?, ?)",
        [content, fingerprint, DIMS, to_blob(rows)],
    )
    return content


def slow_cosines(
    stored: dict[int, npt.NDArray[np.float32]], query: npt.NDArray[np.float32]
) -> dict[tuple[int, int], float]:
    """Mean taken away (shrunk by a prior of 32 rows), one pair at a time."""
    rows = {
        (content, seq): row.astype(np.float64) for content, matrix in stored.items() for seq, row in enumerate(matrix)
    }
    mean = np.sum(list(rows.values()), axis=0) / (len(rows) + 32)
    centred = query - mean
    return {
        place: float((row - mean) @ centred / (np.linalg.norm(row - mean) * np.linalg.norm(centred)))
        for place, row in rows.items()
    }


@given(
    st.lists(st.one_of(st.integers(1, 7), st.just("delete"), st.just("look")), min_size=1, max_size=25),
    st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_search_is_exact_after_any_sequence_of_changes(db: Database, steps: list[int | str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    db.execute("DELETE FROM contents")
    index = VectorIndex("f", DIMS)
    stored: dict[int, npt.NDArray[np.float32]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "_BLOCK_ROWS", 4)
        for step in [*steps, "look"]:
            if isinstance(step, int):
                rows = unit(rng.normal(size=(step, DIMS)) + 0.5)
                stored[add_content(db, rows)] = from_blob(to_blob(rows), DIMS)
            elif step == "delete" and stored:
                content = sorted(stored)[len(stored) // 2]
                del stored[content]
                db.execute("DELETE FROM contents WHERE id = ?", [content])
            elif step == "look":
                index.refresh(db)
                assert len(index) == sum(len(rows) for rows in stored.values())
                check(index, stored, unit(rng.normal(size=DIMS)))


def check(index: VectorIndex, stored: dict[int, npt.NDArray[np.float32]], query: npt.NDArray[np.float32]) -> None:
    expected = slow_cosines(stored, query) if stored else {}
    best = sorted(expected.items(), key=lambda item: -item[1])[:5]
    got = index.search(query, 5)
    assert [place for place, _ in best] == [(content, seq) for content, seq, _ in got]
    np.testing.assert_allclose([score for _, score in best], [score for *_, score in got], atol=2e-6)
    places = [*expected, (10**9, 0)]
    np.testing.assert_allclose(index.cosines(query, places), [*expected.values(), np.nan], atol=2e-6)
    hidden = {content for content, _ in list(expected)[:3]}
    visible = [place for place, _ in sorted(expected.items(), key=lambda item: -item[1]) if place[0] not in hidden]
    assert [(content, seq) for content, seq, _ in index.search(query, 5, hidden=hidden)] == visible[:5]


def test_an_index_knows_one_embedder_only(db: Database) -> None:
    db.execute("DELETE FROM contents")
    add_content(db, unit(np.ones((2, DIMS))), "one")
    add_content(db, unit(np.ones((3, DIMS))), "two")
    index = VectorIndex("two", DIMS)
    index.refresh(db)
    assert len(index) == 3


def test_an_empty_query_and_an_empty_chunk_are_near_nothing(db: Database) -> None:
    db.execute("DELETE FROM contents")
    content = add_content(db, np.vstack([unit(np.ones(DIMS)), np.zeros(DIMS, np.float32)]))
    index = VectorIndex("f", DIMS)
    index.refresh(db)
    assert index.cosines(np.zeros(DIMS, np.float32), [(content, 0)]).tolist() == [0.0]
    assert index.cosines(unit(np.ones(DIMS)), [(content, 1)])[0] <= 0.0


def test_nothing_stored_finds_nothing(tmp_path: Path) -> None:
    empty = open_database(tmp_path / "empty.sqlite3")
    index = VectorIndex("f", DIMS)
    index.refresh(empty)
    assert index.search(unit(np.ones(DIMS)), 5) == []
    empty.close()


def test_an_index_sees_what_any_connection_wrote(tmp_path: Path) -> None:
    first = open_database(tmp_path / "library.sqlite3")
    second = open_database(tmp_path / "library.sqlite3")
    index = VectorIndex("f", DIMS)
    expected = 0
    for writer in (first, second, second, first):
        add_content(writer, unit(np.random.default_rng(expected).normal(size=(3, DIMS))))
        expected += 3
        for reader in (second, first, second):
            index.refresh(reader)
            assert len(index) == expected
    second.execute("DELETE FROM contents")
    index.refresh(first)
    assert len(index) == 0
    first.close()
    second.close()
