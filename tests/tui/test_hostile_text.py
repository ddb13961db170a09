"""Whatever comes from a model, a file, a name or a paste is shown on the screen and never obeyed."""

import json
import unicodedata
from pathlib import Path

import pytest
from textual import events

from mlx_mixer.paths import Paths
from tests.tui.conftest import AppFactory
from tests.tui.helpers import screen_text, started, strips, type_text, wait_for_text, wait_until
from tests.tui.scripted_engine import ScriptedEngine
from tui.app import MixerApp
from tui.events import IndexingFinished, IndexingProgress, LibraryFailed, ModelFailed
from tui.widgets.source_list import SourceList

MARKUP = "[/] [/foo] [@click=app.quit]x[/] [link=ssh://h]y[/link] [bold red]z"
CONTROLS = "\x1b]52;c;QUJD\x07 \x1b[2J \x1b]0;title\x07 \x1bP q\x1b\\ \x9b31m \x00 \x08 \x0b \x7f \r"
INVISIBLE = "\u202eevil \u2066 \u200b \u200f \U000e0041 e" + "\u0301" * 40
PAYLOADS = {"markup": MARKUP, "everything": f"{CONTROLS}{INVISIBLE}{MARKUP}"}


def assert_nothing_leaks(app: MixerApp) -> None:
    """No control, bidi or invisible character, no link and no action on any cell of the screen."""
    for strip in strips(app):
        for segment in strip:
            bad = [
                c for c in segment.text if unicodedata.category(c) in ("Cc", "Cs") or c in "\u202e\u2066\u200b\u200f"
            ]
            assert not bad, (bad, segment)
            assert segment.style is None or segment.style.link is None
            meta = segment.style.meta if segment.style is not None else {}
            assert "app.quit" not in str(meta.get("@click")), segment


@pytest.fixture(params=PAYLOADS)
def payload(request: pytest.FixtureRequest) -> str:
    return PAYLOADS[request.param]


async def test_model_output_pastes_settings_and_messages_are_harmless(
    make_app: AppFactory, engine: ScriptedEngine, payload: str
) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await started(pilot, engine)
        app.post_message(events.Paste(payload))
        await type_text(pilot, " x")
        await pilot.press("tab")
        await wait_until(pilot, lambda: engine.requests)
        engine.say(payload, *payload[:30])
        await wait_for_text(pilot, "● writing")
        assert_nothing_leaks(app)
        engine.finish("failed", detail=payload)
        await wait_for_text(pilot, "✗ failed")
        assert_nothing_leaks(app)
        engine._emit(ModelFailed(Path(f"/models/{payload}".replace("\0", "")), payload))
        await wait_until(pilot, lambda: "Ctrl+L" in screen_text(app))
        assert_nothing_leaks(app)
        await pilot.press("f2")
        app.post_message(events.Paste(payload))
        await wait_for_text(pilot, "✗ Temperature")
        assert_nothing_leaks(app)
        await pilot.press("ctrl+p")
        app.post_message(events.Paste(payload))
        await wait_for_text(pilot, "No matches found")
        assert_nothing_leaks(app)


def hostile_name(payload: str) -> str:
    return payload.replace("/", "\u2215").replace("\0", "")[:80]


async def test_file_names_contents_queries_and_folders_are_harmless(
    make_app: AppFactory, engine: ScriptedEngine, tmp_path: Path, payload: str
) -> None:
    folder = tmp_path / f"d{hostile_name(payload)}"
    folder.mkdir()
    # Padded, because a file of mostly controls is taken for a binary one and left out.
    body = f"# needle {payload}\n\nneedle {payload}\n\n{'Plain words. ' * 300}".replace("\0", "")
    (folder / f"{hostile_name(payload)}.md").write_text(body, encoding="utf-8")
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await started(pilot, engine)
        await pilot.press("f4")
        await wait_for_text(pilot, "Nothing to search yet")
        app._librarian.add(folder)
        await wait_for_text(pilot, "1 document ·")
        await type_text(pilot, "needle")
        await wait_for_text(pilot, "passage")
        preview = app.screen.query_one("#preview-text")
        await wait_until(pilot, lambda: "needle" in str(preview.render()))
        assert_nothing_leaks(app)
        app.post_message(events.Paste(payload))
        await wait_until(pilot, lambda: app.search_screen._last is not None)
        assert_nothing_leaks(app)
        for event in (IndexingProgress("reading", 1, 3, payload), IndexingFinished(payload), LibraryFailed(payload)):
            engine._emit(event)  # type: ignore[arg-type]  # the scripted engine can tell anything
            await pilot.pause()
            assert_nothing_leaks(app)
        await pilot.press("ctrl+n")
        app.post_message(events.Paste(f"/nowhere/{payload}"))
        await pilot.press("enter")
        await wait_for_text(pilot, "✗ ")
        assert_nothing_leaks(app)


async def test_model_folders_are_harmless(
    make_app: AppFactory, engine: ScriptedEngine, paths: Paths, payload: str
) -> None:
    folder = paths.models / hostile_name(payload)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": payload, "context_length": 9}))
    async with make_app(model=folder).run_test(size=(80, 24)) as pilot:
        app = await started(pilot, engine)
        assert_nothing_leaks(app)
        await pilot.press("ctrl+l")
        await wait_for_text(pilot, "Models on this computer")
        assert_nothing_leaks(app)


async def test_questions_answers_and_quotations_are_harmless(
    make_app: AppFactory, engine: ScriptedEngine, tmp_path: Path, payload: str
) -> None:
    name = hostile_name(payload)
    folder = tmp_path / f"d{name}"
    folder.mkdir()
    body = f"# needle {payload}\n\nneedle {payload}\n\n{'Plain words. ' * 30}".replace("\0", "")
    (folder / f"{name}.md").write_text(body, encoding="utf-8")
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await started(pilot, engine)
        app._librarian.add(folder)
        await wait_until(pilot, lambda: app.session.library is not None and app.session.library.documents == 1)
        await pilot.press("f6")
        await type_text(pilot, "needle")
        await pilot.press("enter")
        await wait_until(pilot, lambda: engine.questions)
        engine.prepare_prompt()
        await wait_for_text(pilot, "Will be sent")
        assert_nothing_leaks(app)
        await pilot.press("f9")
        await wait_for_text(pilot, "What is sent")
        assert_nothing_leaks(app)
        await pilot.press("escape", "enter")
        await wait_until(pilot, lambda: engine.answers)
        engine.reply(f"{payload} “Plain words.” [1] `{payload}`", payload)
        await wait_for_text(pilot, "✓ answered")
        await wait_until(pilot, lambda: app.chat_screen.query_one(SourceList).option_count >= 2)
        assert_nothing_leaks(app)
        engine.refuse(payload)
        await pilot.pause()
        assert_nothing_leaks(app)
