"""Help for where the user is: every key that does something there, from the same declarations the keys come from."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen

from tui.widgets.plain import Plain, plain

EDITING_KEYS = (
    ("^Z ^Y", "Undo and redo; a whole continuation is one step"),
    ("^C ^X ^V", "Copy, cut, paste"),
    ("^W ^K ^U", "Delete a word, to the end, to the beginning of the line"),
    ("F7", "Select everything"),
)


class HelpScreen(ModalScreen[None]):
    """Shows `keys`, pairs of a key and what it does."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,q", "app.pop_screen", "Close", id="help.close")]

    def __init__(self, title: str, keys: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._title = title
        self._keys = keys

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog -tall"):
            yield Plain(plain(self._title, "bold"), classes="panel-title")
            with VerticalScroll(id="help-body"):
                for key, text in self._keys:
                    with Horizontal(classes="help-line"):
                        yield Plain(plain(key, "$primary bold"), classes="help-key")
                        yield Plain(text, classes="help-text")
            yield Plain(plain("Esc close", "$text-muted"), classes="dialog-keys")
