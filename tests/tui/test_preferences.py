import json
from pathlib import Path

import pytest

from mlx_mixer.sampling import SamplingSettings
from tui.draft import load_draft, save_draft
from tui.preferences import NAME, Preferences, load_preferences, save_preferences


def test_what_was_chosen_comes_back(tmp_path: Path) -> None:
    chosen = Preferences("paper", Path("/models/mine"), SamplingSettings(temperature=0, seed=3))
    save_preferences(tmp_path / "state", chosen)
    assert load_preferences(tmp_path / "state") == chosen


@pytest.mark.parametrize(
    "stored",
    [
        "not json",
        "[]",
        json.dumps({"theme": 3, "model": [], "settings": 7}),
        json.dumps({"settings": {"temperature": 99}}),
        json.dumps({"settings": {"of another version": 1}}),
        json.dumps({"settings": {"seed": "text"}}),
    ],
)
def test_anything_damaged_falls_back_to_the_defaults(tmp_path: Path, stored: str) -> None:
    (tmp_path / NAME).write_text(stored)
    assert load_preferences(tmp_path) == Preferences()


def test_nothing_stored_gives_the_defaults(tmp_path: Path) -> None:
    assert load_preferences(tmp_path) == Preferences()
    assert load_draft(tmp_path) == ""


def test_an_empty_text_makes_no_file_but_replaces_an_older_one(tmp_path: Path) -> None:
    save_draft(tmp_path, "")
    assert list(tmp_path.iterdir()) == []
    save_draft(tmp_path, "some ünïcode\ntext")
    assert load_draft(tmp_path) == "some ünïcode\ntext"
    save_draft(tmp_path, "")
    assert load_draft(tmp_path) == ""
