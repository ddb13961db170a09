"""Make the pictures of the README: `python docs/screenshots/make.py`.

The app runs without a terminal, with the bundled model and a throw-away library of this project's own files. The seed
is fixed, so the same model writes the same words; only the times shown may differ.
"""

import asyncio
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from mlx_mixer.documents.library import Library
from mlx_mixer.paths import default_paths
from mlx_mixer.sampling import SamplingSettings
from tui.app import MixerApp
from tui.engine import MlxEngine
from tui.librarian import Librarian

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SIZE = (112, 28)
BEGINNING = "The package manager keeps track of every file it installs. When a package is removed,"
QUERY = "how is the cache trimmed"

_FONT_FACES = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def save(app: MixerApp, name: str) -> None:
    """Write what the app shows as a picture that loads nothing from elsewhere."""
    svg = _FONT_FACES.sub("", app.export_screenshot(title="mlx-mixer", simplify=True))
    svg = re.sub(r"font-family: [^;]+;", f"font-family: {_FONTS};", svg)
    (HERE / name).write_text(svg, encoding="utf-8")


async def until(pilot: Pilot[int], is_true: Callable[[], object]) -> None:
    """Wait for a condition, for at most a while."""
    async with asyncio.timeout(25):
        while not is_true():  # noqa: ASYNC110  # the state is plain data that nobody signals
            await asyncio.sleep(0.02)
    await pilot.pause()


async def take_pictures(app: MixerApp) -> None:
    """Write, search, and save a picture of each."""
    app.animation_level = "none"
    app.session.settings = SamplingSettings(temperature=0.7, seed=7, max_tokens=130)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.session.model_state == "ready")
        app.write_screen.manuscript.insert(BEGINNING)
        await pilot.press("tab")
        await until(pilot, lambda: len(app.write_screen.text) > len(BEGINNING) + 180)
        save(app, "write.svg")
        await pilot.press("escape")

        await until(pilot, lambda: app.session.meaning == "ready" and app.session.library is not None)
        app.theme = "paper"
        await pilot.press("f4")
        app._librarian.add(ROOT / "mlx_mixer")
        library = app.session
        await until(pilot, lambda: library.library is not None and library.library.documents and not library.indexing)
        await until(pilot, lambda: library.library is not None and library.library.with_meaning)
        await pilot.press(*("space" if letter == " " else letter for letter in QUERY))
        preview = app.search_screen.query_one("#preview-text")
        await until(pilot, lambda: "trim" in str(preview.render()))
        save(app, "search.svg")


def main() -> None:
    """Make both pictures."""
    with tempfile.TemporaryDirectory() as home:
        # The paths shown are those below the project, as a user sees those below their home.
        os.environ["HOME"] = str(ROOT)
        paths = default_paths({"MLX_MIXER_HOME": home})
        librarian = Librarian(lambda progress: Library(paths.library, progress=progress))
        app = MixerApp(engine=MlxEngine(), librarian=librarian, paths=paths)
        asyncio.run(take_pictures(app))
        app.stop_work()


if __name__ == "__main__":
    main()
