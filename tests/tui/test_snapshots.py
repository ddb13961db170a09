"""Pictures of whole screens. After a wanted change: `pytest tests/tui/test_snapshots.py --snapshot-update`."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from mlx_mixer.paths import Paths
from tests.convert.golden import checkpoint
from tests.convert.hub_server import Hub, Repo
from tests.tui.conftest import GARDEN, NOTES, AppFactory
from tests.tui.helpers import keep_text, started, type_text, wait_for_text, wait_until
from tests.tui.scripted_engine import ScriptedEngine
from tests.tui.test_training_screen import write_run
from tui.app import MixerApp
from tui.events import IndexingProgress
from tui.screens.training import TrainingScreen
from tui.widgets.plain import Plain

Snap = Callable[..., bool]
Scene = Callable[[Pilot[int], ScriptedEngine], Awaitable[None]]

BEGINNING = "The package manager keeps a list of"
CONTINUATION = (
    " every file that a package installed, so that it can be removed again without leaving anything behind.\n\n"
    "When a package is upgraded, the old files are"
)


@pytest.fixture
def my_notes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Documents in the home directory, whose changing name is then shown as a tilde."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "cooking.md").write_text(NOTES, encoding="utf-8")
    (folder / "garden.md").write_text(GARDEN, encoding="utf-8")
    return folder


async def writing(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    app = await started(pilot, engine)
    app.write_screen.manuscript.insert(BEGINNING)
    await pilot.press("tab")
    await wait_until(pilot, lambda: engine.requests)
    engine.say(CONTINUATION)
    await wait_for_text(pilot, "● writing")
    await wait_for_text(pilot, "the old files are")


async def at_the_limit(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await writing(pilot, engine)
    engine.finish("length", tokens=200, slides=1)
    await wait_for_text(pilot, "Reached 200 tokens")


async def settings(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await writing(pilot, engine)
    await pilot.press("escape", "f2")
    await type_text(pilot, "warm")
    await wait_for_text(pilot, "✗ Temperature must be")


async def results(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    app = await started(pilot, engine)
    app._librarian.add(Path.home() / "notes")
    await pilot.press("f4")
    await wait_for_text(pilot, "2 documents")
    await type_text(pilot, "water in the morning")
    await wait_for_text(pilot, "2 passages in 0 ms")
    preview = app.screen.query_one("#preview-text", Plain)
    await wait_until(pilot, lambda: "Tomatoes" in str(preview.render()))
    await pilot.pause()


async def asking(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    app = await started(pilot, engine)
    app._librarian.add(Path.home() / "notes")
    await wait_until(pilot, lambda: app.session.library is not None and app.session.library.documents == 2)
    await pilot.press("f6")
    await wait_for_text(pilot, "Ask something")
    await type_text(pilot, "water in the morning")
    await pilot.press("enter")
    await wait_until(pilot, lambda: engine.questions)
    engine.prepare_prompt()
    await wait_for_text(pilot, "Will be sent: 2 of 2")
    app.screen.query_one("SourceList").focus()
    await pilot.press("end", "space")
    await wait_until(pilot, lambda: engine.questions[-1].without)
    engine.prepare_prompt()
    await wait_for_text(pilot, "Will be sent: 1 of 2")


async def answered(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await asking(pilot, engine)
    app = pilot.app
    await pilot.press("space")
    await wait_until(pilot, lambda: not engine.questions[-1].without)
    engine.prepare_prompt()
    await wait_for_text(pilot, "Will be sent: 2 of 2")
    app.screen.query_one("QuestionInput").focus()
    await pilot.press("enter")
    await wait_until(pilot, lambda: engine.answers)
    engine.reply('Early: it says "Water in the morning, and only the soil" [1]. Not "at noon" [1], ', "though.")
    await wait_for_text(pilot, "✓ answered")
    await wait_for_text(pilot, "not in the documents")


async def no_match(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    app = await started(pilot, engine)
    app._librarian.add(Path.home() / "notes")
    await wait_until(pilot, lambda: app.session.library is not None and app.session.library.documents == 2)
    await pilot.press("f6")
    await type_text(pilot, "zebra")
    await pilot.press("enter")
    await wait_until(pilot, lambda: engine.questions)
    engine.prepare_prompt()
    await wait_for_text(pilot, "Nothing in your documents matches")


async def the_prompt(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await asking(pilot, engine)
    await pilot.press("f9")
    await wait_for_text(pilot, "What is sent")


async def nothing_to_search(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await started(pilot, engine)
    await pilot.press("f4")
    await wait_for_text(pilot, "Nothing to search yet")


async def nothing_found(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    app = await started(pilot, engine)
    app._librarian.add(Path.home() / "notes")
    await pilot.press("f4")
    await wait_for_text(pilot, "2 documents")
    await type_text(pilot, "zebra")
    await wait_for_text(pilot, "No passage matches")


async def indexing(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await nothing_to_search(pilot, engine)
    engine._emit(IndexingProgress("understanding", 630, 1000, ""))  # type: ignore[arg-type]  # it can tell anything
    await wait_for_text(pilot, "630 / 1,000")


async def adding(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await nothing_to_search(pilot, engine)
    await pilot.press("ctrl+n")
    await type_text(pilot, "~/nowhere")
    await pilot.press("enter")
    await wait_for_text(pilot, "does not exist")


async def help_for_writing(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await writing(pilot, engine)
    await pilot.press("f1")
    await wait_for_text(pilot, "Undo and redo")


async def palette(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await started(pilot, engine)
    await pilot.press("ctrl+p")
    await wait_for_text(pilot, "view: other screen")


async def following_a_run(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    app = await started(pilot, engine)
    write_run(Path.home() / "models" / "mine", 400, 250)
    await app.push_screen(TrainingScreen(Path.home() / "models" / "mine"))
    await wait_for_text(pilot, "step 250 of 400")


async def models(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await started(pilot, engine)
    await pilot.press("ctrl+l")
    await wait_for_text(pilot, "essays")


def take(snap_compare: Snap, app: MixerApp, engine: ScriptedEngine, scene: Scene, size: tuple[int, int]) -> bool:
    async def run_before(pilot: Pilot[int]) -> None:
        await scene(pilot, engine)

    return snap_compare(app, terminal_size=size, run_before=run_before)


@pytest.mark.parametrize("theme", ["ink", "paper"])
@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
@pytest.mark.parametrize("scene", [writing, results, answered], ids=lambda scene: scene.__name__)
def test_both_screens_in_both_themes_and_two_sizes(
    snap_compare: Snap,
    make_app: AppFactory,
    engine: ScriptedEngine,
    my_notes: Path,
    scene: Scene,
    size: tuple[int, int],
    theme: str,
) -> None:
    assert take(snap_compare, make_app(theme=theme), engine, scene, size)


@pytest.mark.parametrize(
    "scene",
    [
        *(at_the_limit, settings, nothing_to_search, nothing_found, indexing, adding, help_for_writing, palette),
        *(asking, no_match, the_prompt, following_a_run),
    ],
    ids=lambda scene: scene.__name__,
)
def test_every_other_state_fits_80_by_24(
    snap_compare: Snap, make_app: AppFactory, engine: ScriptedEngine, my_notes: Path, scene: Scene
) -> None:
    assert take(snap_compare, make_app(), engine, scene, (80, 24))


def test_the_model_picker(
    snap_compare: Snap,
    make_app: AppFactory,
    engine: ScriptedEngine,
    my_notes: Path,
    paths: Paths,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundled = my_notes.parent / "bundled"
    monkeypatch.setattr("tui.models_on_disk.bundled_folder", lambda: bundled)
    monkeypatch.setattr(type(paths), "models", my_notes.parent / "models")
    for folder, context, size in [(bundled, 256, 11_600_000), (my_notes.parent / "models" / "essays", 512, 92_000_000)]:
        folder.mkdir(parents=True)
        config = {"model_type": "language_mixer", "token_mixing": "flat", "context_length": context}
        (folder / "config.json").write_text(json.dumps(config))
        with (folder / "model.safetensors").open("wb") as weights:
            weights.truncate(size)
    assert take(snap_compare, make_app(), engine, models, (80, 24))


def test_a_model_on_the_hub_before_it_is_fetched(
    snap_compare: Snap, make_app: AppFactory, engine: ScriptedEngine, my_notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(pilot: Pilot[int], engine: ScriptedEngine) -> None:
        await started(pilot, engine)
        await pilot.press("ctrl+l")
        await wait_for_text(pilot, "Models on this computer")
        await pilot.press("slash")
        await type_text(pilot, "essays")
        await pilot.press("enter")
        await wait_for_text(pilot, "ann/essays-tiny")
        await pilot.press("enter")
        await wait_for_text(pilot, "Enter fetch it")

    weights = checkpoint("kernel4").read_bytes()
    with Hub() as hub:
        hub.repos["ann/essays-tiny"] = Repo({"model.safetensors": weights})
        hub.repos["bob/essays-chat"] = Repo({"config.json": b'{"model_type": "llama"}'}, gated="auto")
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        assert take(snap_compare, make_app(), engine, scene, (80, 24))


def test_without_a_model_the_text_can_still_be_edited(
    snap_compare: Snap, make_app: AppFactory, my_notes: Path, paths: Paths
) -> None:
    keep_text(paths, BEGINNING)
    engine = ScriptedEngine(is_ready=False)
    app = make_app()
    app._engine = engine

    async def scene(pilot: Pilot[int], engine: ScriptedEngine) -> None:
        await started(pilot, engine)
        engine.fail_to_load("the weights do not fit the configuration")
        await wait_for_text(pilot, "Ctrl+L chooses another model")

    assert take(snap_compare, app, engine, scene, (80, 24))
