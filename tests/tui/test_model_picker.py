"""The model picker: what is here, and what comes from the Hub, with the real client against a local server."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from mlx_mixer.paths import Paths
from tests.convert.golden import checkpoint
from tests.convert.hub_server import Hub, Repo
from tests.tui.conftest import AppFactory
from tests.tui.helpers import screen_text, started, type_text, wait_for_text, wait_until
from tests.tui.scripted_engine import ScriptedEngine
from tui.screens.hub import HubDialog, row_content
from tui.screens.models import ModelPicker

WEIGHTS = checkpoint("kernel4").read_bytes()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "60")
        for name in ("HF_TOKEN", "HF_HOME", "HF_HUB_CACHE"):
            monkeypatch.delenv(name, raising=False)
        yield hub


async def picker(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await started(pilot, engine)
    await pilot.press("ctrl+l")
    await wait_for_text(pilot, "Models on this computer")


def here(paths: Paths, name: str) -> Path:
    folder = paths.models / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "language_mixer", "context_length": 64}))
    (folder / "model.safetensors").write_bytes(bytes(2_000_000))
    return folder


async def test_a_model_is_found_looked_at_fetched_and_used(
    make_app: AppFactory, engine: ScriptedEngine, paths: Paths, hub: Hub
) -> None:
    hub.repos["ann/tiny-essays"] = Repo({"model.safetensors": WEIGHTS, "config.json": b"{}"})
    hub.repos["bob/tiny-chat"] = Repo({"config.json": b'{"model_type": "llama"}'}, gated="manual")
    async with make_app().run_test(size=(100, 30)) as pilot:
        await picker(pilot, engine)
        await pilot.press("slash")
        await wait_for_text(pilot, "Models on the Hugging Face Hub")
        await type_text(pilot, "tiny")
        await pilot.press("enter")
        await wait_for_text(pilot, "ann/tiny-essays")
        assert "gated" in screen_text(pilot.app)
        await pilot.press("enter")
        await wait_for_text(pilot, "Licence: mit.")
        assert "It fits and should work." in " ".join(screen_text(pilot.app).split()).replace("│ ", "")
        assert not paths.models.exists(), "nothing is fetched before it was looked at and agreed to"
        await pilot.press("enter")
        await wait_until(pilot, lambda: engine.loaded[-1] == paths.models / "tiny-essays")
        assert not isinstance(pilot.app.screen, ModelPicker | HubDialog)


async def test_a_download_that_is_stopped_goes_on_later_and_ends_with_the_app(
    make_app: AppFactory, engine: ScriptedEngine, hub: Hub
) -> None:
    hub.repos["ann/tiny"] = Repo({"model.safetensors": WEIGHTS}, body=[("stall", 50_000), ("stall", 9_000)])
    async with make_app().run_test(size=(100, 30)) as pilot:
        await picker(pilot, engine)
        await pilot.press("slash")
        await type_text(pilot, "ann/tiny")
        await pilot.press("enter")
        await wait_for_text(pilot, "Enter fetch it")
        await pilot.press("enter")
        await wait_for_text(pilot, "Fetching ██")
        assert "Esc stop, what has come is kept" in screen_text(pilot.app)
        await pilot.press("escape")
        await wait_for_text(pilot, "What has come is kept")
        [part] = (Path(os.environ["HOME"]) / ".cache").rglob("*.mixer-part")
        kept = part.stat().st_size
        assert 0 < kept <= 50_000
        await pilot.press("enter")
        await wait_for_text(pilot, "Enter fetch it")
        await pilot.press("enter")
        await wait_until(pilot, lambda: hub.bodies()[-1]["Range"] == f"bytes={kept}-")
        dialog = pilot.app.screen
        assert isinstance(dialog, HubDialog)
        assert dialog._hub_task is not None
        process = dialog._hub_task._process
        assert process is not None
        await pilot.press("ctrl+q")
    assert process.poll() is not None


async def test_what_the_app_cannot_use_is_said_and_not_offered(
    make_app: AppFactory, engine: ScriptedEngine, hub: Hub
) -> None:
    hub.repos["ann/gated"] = Repo({"model.safetensors": WEIGHTS}, gated="manual", token="x")
    async with make_app().run_test(size=(100, 30)) as pilot:
        await picker(pilot, engine)
        await pilot.press("slash")
        await type_text(pilot, "ann/gated")
        await pilot.press("enter")
        await wait_for_text(pilot, "is gated")
        assert "✗" in screen_text(pilot.app)
        assert "Enter fetch it" not in screen_text(pilot.app)
        await pilot.press("escape")
        await wait_for_text(pilot, "Models on this computer")


async def test_a_model_is_removed_when_asked_twice(make_app: AppFactory, engine: ScriptedEngine, paths: Paths) -> None:
    folder = here(paths, "essays")
    here(paths, "poems")
    async with make_app().run_test(size=(100, 30)) as pilot:
        await picker(pilot, engine)
        await pilot.press("delete")
        await wait_for_text(pilot, "the bundled model stays")
        await pilot.press("down", "delete")
        await wait_for_text(pilot, "Remove essays (2 MB) for good?")
        assert folder.is_dir()
        await pilot.press("escape")
        assert "for good" not in screen_text(pilot.app)
        await pilot.press("delete", "down")
        assert "for good" not in screen_text(pilot.app), "the question was about another model"
        await pilot.press("up", "delete", "delete")
        await wait_for_text(pilot, "essays is removed.")
        assert not folder.exists()
        assert (paths.models / "poems").is_dir()


async def test_the_model_in_use_cannot_be_removed(make_app: AppFactory, engine: ScriptedEngine, paths: Paths) -> None:
    folder = here(paths, "essays")
    async with make_app(model=folder).run_test(size=(100, 30)) as pilot:
        await picker(pilot, engine)
        await pilot.press("delete", "delete")
        await wait_for_text(pilot, "it is in use")
        assert folder.is_dir()


async def test_a_model_that_is_gone_already_is_no_crash(
    make_app: AppFactory, engine: ScriptedEngine, paths: Paths
) -> None:
    folder = here(paths, "essays")
    async with make_app().run_test(size=(100, 30)) as pilot:
        await picker(pilot, engine)
        shutil.rmtree(folder)
        await pilot.press("down", "delete", "delete")
        await wait_for_text(pilot, "there is no model")


def test_a_foreign_name_cannot_act_on_the_terminal() -> None:
    row = {"repo": "eve/\x1b]52;c;eA==\x07[/]", "model_type": "\x1b[2J", "parameters": None, "downloads": 1,
           "is_gated": False}  # fmt: skip
    shown = row_content(row).plain
    assert "\x1b" not in shown
    assert "[/]" in shown
