"""Waiting for something to become true, and reading what a screen shows."""

import asyncio
import time
from collections.abc import Callable

from textual.pilot import Pilot
from textual.strip import Strip

from mlx_mixer.paths import Paths
from tests.tui.scripted_engine import ScriptedEngine
from tui.app import MixerApp

# For machines that do a great deal else; nothing here waits for longer than it has to.
WAIT_SECONDS = 60.0


async def wait_until(pilot: Pilot[int], is_true: Callable[[], object], *, seconds: float = WAIT_SECONDS) -> None:
    """Let the application work until a condition holds."""
    deadline = time.monotonic() + seconds
    await pilot.pause()
    while not is_true():
        if time.monotonic() > deadline:
            raise AssertionError(f"never became true; the screen is:\n{screen_text(pilot.app)}")
        await asyncio.sleep(0.01)
        await pilot.pause()


async def wait_for_text(pilot: Pilot[int], wanted: str) -> None:
    """Let the application work until its screen shows a text."""
    await wait_until(pilot, lambda: wanted in screen_text(pilot.app))


async def started(pilot: Pilot[int], engine: ScriptedEngine) -> MixerApp:
    """Wait until the engine was asked for a model and the library is open; return the application."""
    app = pilot.app
    assert isinstance(app, MixerApp)
    await wait_until(pilot, lambda: engine.loaded and app.session.library is not None)
    return app


async def type_text(pilot: Pilot[int], text: str) -> None:
    names = {" ": "space", "\n": "enter", "/": "slash", ".": "full_stop", "-": "minus", "_": "underscore"}
    await pilot.press(*(names.get(character, character) for character in text))


def strips(app: object) -> list[Strip]:
    assert isinstance(app, MixerApp)
    return app.screen._compositor.render_strips()


def screen_text(app: object) -> str:
    """Return what the screen shows, a line for each row."""
    return "\n".join(strip.text.rstrip() for strip in strips(app))


def keep_text(paths: Paths, text: str) -> None:
    """Put a text where the application finds it when it starts."""
    paths.data.mkdir(parents=True, exist_ok=True)
    (paths.data / "draft.txt").write_text(text, encoding="utf-8")
