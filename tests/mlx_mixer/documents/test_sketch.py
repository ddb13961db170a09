"""A sketch proposes the rows worth looking at, and what is computed from them is exact."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mlx_mixer.documents import sketch as sketch_module
from mlx_mixer.documents import vectors
from mlx_mixer.documents.database import open_database
from mlx_mixer.documents.sketch import SignSketch
from mlx_mixer.documents.vectors import VectorIndex, widened
from tests.mlx_mixer.documents import test_vectors as plain

DIMS = 48


def clustered(rows: int, seed: int) -> npt.NDArray[np.float32]:
    """Vectors around a hundred centres, of very different variance along their axes."""
    rng = np.random.default_rng(seed)
    spread = np.geomspace(1.0, 0.05, DIMS)
    centres = rng.normal(size=(100, DIMS)) * spread
    return plain.unit(centres[rng.integers(0, 100, rows)] + 0.5 * rng.normal(size=(rows, DIMS)) * spread)


def test_every_half_float_is_widened_exactly() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    np.testing.assert_array_equal(widened(halves), halves.astype(np.float32))
    assert np.array_equal(np.signbit(widened(halves)), np.signbit(halves))


def test_a_sketch_grows_row_by_row_into_the_same_sketch() -> None:
    rows = clustered(300, 1)
    whole, grown = SignSketch(DIMS, rows.mean(axis=0)), SignSketch(DIMS, rows.mean(axis=0))
    whole.append(rows)
    for start in range(0, 300, 7):
        grown.append(rows[start : start + 7])
    query = clustered(1, 2)[0]
    np.testing.assert_array_equal(whole.distances(query), grown.distances(query))
    assert len(grown) == 300


def test_longer_vectors_need_no_more_signs() -> None:
    assert SignSketch(512, np.zeros(512, np.float32)).farthest == SignSketch(256, np.zeros(256, np.float32)).farthest


def test_distances_in_signs_follow_angles() -> None:
    rows = clustered(2000, 3)
    sketch = SignSketch(DIMS, np.zeros(DIMS, np.float32))
    sketch.append(rows)
    query = clustered(1, 4)[0]
    angles = np.arccos(np.clip(rows @ query, -1, 1)) / np.pi
    shares = sketch.distances(query) / (-(-2 * DIMS // 64) * 64)
    assert abs(np.mean(shares - angles)) < 0.02
    assert np.corrcoef(shares, angles)[0, 1] > 0.9


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VectorIndex:
    monkeypatch.setattr(vectors, "_EXACT_ROWS", 100)
    monkeypatch.setattr(vectors, "_PROPOSED_ROWS", 400)
    monkeypatch.setattr(plain, "DIMS", DIMS)
    db = open_database(tmp_path / "library.sqlite3")
    rows = clustered(6000, 5)
    for start in range(0, 6000, 50):
        plain.add_content(db, rows[start : start + 50])
    index = VectorIndex("f", DIMS)
    index.refresh(db)
    db.close()
    return index


def test_the_nearest_rows_are_found_by_a_sketch_with_their_exact_cosines(index: VectorIndex) -> None:
    queries = clustered(20, 6)
    index._has_searched = True
    for query in queries:
        found = index.search(query, 10)
        everything = np.flatnonzero(index._mask((), None))
        scores = index._centred_cosines(everything, index._direction(query))
        best = [index._place(everything[i]) for i in np.argsort(-scores, kind="stable")[:10]]
        assert len({place[:2] for place in found} & set(best)) >= 9
        exact = index.cosines(query, [place[:2] for place in found])
        np.testing.assert_allclose(exact, [cosine for *_, cosine in found], atol=1e-6)
    assert index._sketch is not None


def test_the_first_search_needs_no_sketch_and_agrees_with_the_next(index: VectorIndex) -> None:
    query = clustered(1, 8)[0]
    first = index.search(query, 5)
    assert index._sketch is None
    assert index.search(query, 5) == first
    assert index._sketch is not None


def test_only_some_contents_are_searched_however_far_they_are(index: VectorIndex) -> None:
    index._has_searched = True
    query = clustered(1, 9)[0]
    worst = int(index._contents[0])
    found = index.search(query, 100, only=[worst])
    assert {content for content, *_ in found} == {worst}
    assert len(found) == 50
    many = sorted(set(index._contents.tolist()))[:90]
    assert {content for content, *_ in index.search(query, 100, only=many)} <= set(many)
    assert index.search(query, 5, only=[10**9]) == []


def test_the_null_is_that_of_all_rows(index: VectorIndex) -> None:
    query = clustered(1, 10)[0]
    everything = index._centred_cosines(np.arange(6000), index._direction(query))
    null = index.null(query)
    assert null.mean == pytest.approx(everything.mean(), abs=0.02)
    assert null.deviation == pytest.approx(everything.std(), rel=0.1)


def test_distances_are_the_counts_of_different_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sketch_module, "_BLOCK", 64)
    rows, query = clustered(300, 5), clustered(1, 6)[0]
    sketch = SignSketch(DIMS, np.zeros(DIMS, np.float32))
    sketch.append(rows)
    bits = np.unpackbits(sketch._signs(np.vstack([rows, query])).view(np.uint8), axis=1)
    np.testing.assert_array_equal(sketch.distances(query), (bits[:-1] != bits[-1]).sum(axis=1))
    assert sketch.distances(-query).max() <= sketch.farthest
