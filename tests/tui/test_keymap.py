from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.binding import Binding

from mlx_mixer.errors import ConfigError
from tests.tui.conftest import AppFactory
from tests.tui.helpers import screen_text, started, wait_for_text, wait_until
from tests.tui.scripted_engine import ScriptedEngine
from tui.app import MixerApp
from tui.keymap import DEFAULT_KEYS, FILE_NAME, Keys, load_keys
from tui.screens.chat import ChatScreen, QuestionInput
from tui.screens.search import QueryInput, SearchScreen
from tui.screens.write import WriteScreen
from tui.widgets.hit_list import HitList
from tui.widgets.manuscript import Manuscript
from tui.widgets.source_list import SourceList

# What a terminal sends for these is what it sends for Tab, Enter, Backspace and Escape.
INDISTINGUISHABLE = {"ctrl+i", "ctrl+m", "ctrl+h", "ctrl+left_square_bracket"}


def declared() -> Iterator[Binding]:
    owners = (
        MixerApp,
        WriteScreen,
        SearchScreen,
        ChatScreen,
        QueryInput,
        QuestionInput,
        HitList,
        SourceList,
        Manuscript,
    )
    for owner in owners:
        yield from (binding for binding in owner.BINDINGS if isinstance(binding, Binding) and binding.id)


def test_every_command_of_the_table_is_declared_and_explained() -> None:
    bindings = list(declared())
    assert {binding.id for binding in bindings} == set(DEFAULT_KEYS)
    assert all(binding.tooltip.endswith(".") and binding.description for binding in bindings)


def test_every_default_key_passes_a_plain_terminal() -> None:
    for keys in DEFAULT_KEYS.values():
        for key in keys.split(","):
            assert key not in INDISTINGUISHABLE
            assert "alt+" not in key
            assert "super+" not in key
            assert key not in ("ctrl+enter", "shift+enter", "ctrl+tab")


@pytest.mark.parametrize(
    ("command", "name"),
    [("write.continue", "Tab"), ("model.choose", "Ctrl+L"), ("write.stop", "Esc"), ("search.query", "/")],
)
def test_keys_are_named_as_people_write_them(command: str, name: str) -> None:
    assert Keys().name(command) == name


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert load_keys(tmp_path) == Keys()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[keymap", "cannot be read"),
        ("keymap = 3", "must be a table"),
        ('[keymap]\n"write.kontinue" = "f6"', "did you mean write.continue"),
        ('[keymap]\n"xyz" = "f6"', "there are write.continue"),
        ('[keymap]\n"write.continue" = 6', "must be text such as"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_with_the_remedy(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_keys(tmp_path)
    assert "\n" not in str(caught.value)


async def test_a_key_bound_anew_works_and_every_hint_names_it(make_app: AppFactory, engine: ScriptedEngine) -> None:
    app = make_app(keys=Keys({"write.continue": "ctrl+j", "view.search": "f9"}))
    async with app.run_test(size=(80, 24)) as pilot:
        await started(pilot, engine)
        await wait_for_text(pilot, "press Ctrl+J")
        assert "Search F9" in screen_text(app)
        app.write_screen.manuscript.insert("Once")
        await pilot.press("ctrl+j")
        await wait_until(pilot, lambda: engine.requests)
        await pilot.press("f9")
        await wait_for_text(pilot, "Nothing to search yet")
