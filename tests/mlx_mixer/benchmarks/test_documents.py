"""The library's benchmark measures what it says, here on very little."""

import pytest

from mlx_mixer.benchmarks import documents


def test_every_figure_is_measured_beside_the_bare_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TREE_FILES": 200, "CORPUS_BYTES": 200_000, "ROUNDS": 1}.items():
        monkeypatch.setattr(documents, name, value)
    figures = documents.document_figures()
    assert list(figures) == [
        "documents_scan", "documents_scan_bare", "documents_text", "documents_text_raw_fts5", "documents_index",
        "documents_index_raw_fts5", "documents_first_file",
    ]  # fmt: skip
    assert all(figure.value > 0 for figure in figures.values())
    assert figures["documents_scan_bare"].value > figures["documents_scan"].value
    assert figures["documents_index"].value > 1
