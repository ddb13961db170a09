"""Verdicts on disk are a convenience: nothing that happens to the file may matter."""

import logging
from pathlib import Path

import pytest

from mlx_mixer.kernels.probe import Verdict
from mlx_mixer.kernels.verdicts import VerdictStore

VERDICT = Verdict(True, "agrees and is faster", 1e-7, 1.5)


def test_what_is_put_is_found_again(tmp_path: Path) -> None:
    store = VerdictStore(tmp_path / "state" / "kernels.json")
    store.put("a", VERDICT)
    store.put("b", Verdict(False, "slow", 0.0, 0.5))
    again = VerdictStore(store.path)
    assert again.get("a") == VERDICT
    assert again.get("b") == Verdict(False, "slow", 0.0, 0.5)
    assert again.get("c") is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 3}', '{"a": {"other": 1}}', '{"a": null}'])
def test_a_file_that_makes_no_sense_is_no_verdict(content: str, tmp_path: Path) -> None:
    path = tmp_path / "kernels.json"
    path.write_text(content)
    store = VerdictStore(path)
    assert store.get("a") is None
    store.put("a", VERDICT)
    assert store.get("a") == VERDICT


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    store = VerdictStore(tmp_path / "file" / "kernels.json")
    with caplog.at_level(logging.WARNING):
        store.put("a", VERDICT)
    assert "not kept" in caplog.text
    assert store.get("a") is None
