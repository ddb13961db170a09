"""The first line of a screen: where you are, where else you can go, and which model is at work."""

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal

from tui.keymap import Keys
from tui.messages import Mode, ModeRequested
from tui.widgets.plain import Plain, plain, plain_line

_TABS: tuple[tuple[Mode, str, str], ...] = (
    ("write", "Write", "view.write"),
    ("search", "Search", "view.search"),
    ("chat", "Chat", "view.chat"),
)


class _Tab(Plain):
    def __init__(self, mode: Mode, label: str, key: str, *, is_here: bool) -> None:
        # The bar and not only a colour says which one is open.
        text = (plain(f"▌{label}", "bold") if is_here else plain(f" {label}")) + plain(f" {key}", "$text-muted")
        super().__init__(text, classes="tab -here" if is_here else "tab")
        self.mode = mode

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.post_message(ModeRequested(self.mode))


class TopBar(Horizontal):
    """The bar of the screen called `here`."""

    def __init__(self, here: Mode, keys: Keys) -> None:
        super().__init__()
        self._here = here
        self._keys = keys

    def compose(self) -> ComposeResult:
        for mode, label, command in _TABS:
            yield _Tab(mode, label, self._keys.name(command), is_here=mode == self._here)
        yield Plain("", id="top-note")

    def show_note(self, text: str) -> None:
        """Show a short text at the right end."""
        self.query_one("#top-note", Plain).show(plain_line(text, "$text-muted"))
