"""The application over a scripted engine and a real library, without motion and without this machine's settings."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlx_mixer.documents.library import Library
from mlx_mixer.paths import Paths, default_paths
from tests.tui.scripted_engine import ScriptedEngine
from tui.app import MixerApp
from tui.keymap import Keys
from tui.librarian import Librarian

NOTES = """\
# Cooking

## Bread

Mix flour, water and salt, and let the dough rest overnight in a cool place.
In the morning fold it twice and bake it in a hot oven.

## Soup

Onions first, slowly, until they are sweet; then stock, and patience.
"""

GARDEN = """\
# Garden

Tomatoes like warmth and even watering. Carrots want a deep and sandy bed.
Water in the morning, and only the soil.
"""

AppFactory = Callable[..., MixerApp]


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "COLORTERM", "VISUAL", "EDITOR", "TEXTUAL_THEME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def paths() -> Paths:
    return default_paths()


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A folder with two short documents."""
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "cooking.md").write_text(NOTES, encoding="utf-8")
    (folder / "garden.md").write_text(GARDEN, encoding="utf-8")
    return folder


@pytest.fixture
def make_app(paths: Paths, engine: ScriptedEngine) -> Iterator[AppFactory]:
    """Build the application over the scripted engine and a real library; its threads are ended afterwards."""
    apps: list[MixerApp] = []

    def make(*, theme: str = "ink", model: Path | None = None, keys: Keys | None = None) -> MixerApp:
        # A clock that stands still: a search takes 0 ms in every picture.
        librarian = Librarian(lambda progress: Library(paths.library, progress=progress), clock=lambda: 0.0)
        app = MixerApp(engine=engine, librarian=librarian, paths=paths, model=model, keys=keys)
        app.theme = theme
        app.animation_level = "none"
        apps.append(app)
        return app

    yield make
    # Every one is stopped, whether or not an earlier one ended in time.
    ended = [app.stop_work(60) for app in apps]
    assert all(ended)
