"""The benchmark of searches builds a real library and compares like with like."""

from pathlib import Path

import pytest

from mlx_mixer.benchmarks import search
from mlx_mixer.documents.library import Library
from mlx_mixer.embedding import load_embedder


def test_the_library_it_builds_is_a_library(tmp_path: Path) -> None:
    embedder = load_embedder()
    passages = search.stdlib_passages(300)
    assert len(passages) == 300
    path = tmp_path / "library.sqlite3"
    search.build_library(path, 400, passages, embedder)
    with Library(path, embedder=embedder) as library:
        status = library.status()
        assert (status.documents, status.chunks, status.pending) == (20, 400, 0)
        result = library.search(search.queries(passages, 1)[0])
        assert result.by_meaning
        assert result.hits


def test_figures_name_the_raw_ways_beside_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_PASSAGES", 200)
    monkeypatch.setattr(search, "_QUERIES", 8)
    monkeypatch.setattr(search, "_WARM_UP", 2)
    monkeypatch.setattr(search, "_COLD_STARTS", 1)
    figures = search.search_figures(load_embedder(), [1000])
    names = {name.removesuffix("_1000") for name in figures}
    assert names >= {"search_p50", "search_p95", "search_words_p50", "raw_fts5_p50", "raw_numpy_p50", "search_cold"}
    assert all(figure.value > 0 for figure in figures.values())
    assert figures["search_cold_1000"].unit == "s"
