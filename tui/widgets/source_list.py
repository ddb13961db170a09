"""What will be sent of the documents, passage by passage, and after the answer the places of its quotations."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from mlx_mixer.documents.structure import page_label
from tui.chat_events import ChatQuote, ChatSource, PromptPrepared
from tui.keymap import bind
from tui.messages import OpenRequested
from tui.widgets.plain import plain, plain_line

_QUOTE_CHARACTERS = 40


class SourceList(OptionList):
    """Passages that can be switched off before they are sent; Enter opens a place in the editor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False),
        Binding("k", "cursor_up", "Up", show=False),
        bind("source.open", "select", "Open", "Open the file at the line, in $VISUAL or $EDITOR."),
        bind("source.switch", "switch", "On or off", "Send this passage, or leave it out."),
    ]

    class Switched(Message):
        """Passages to leave out, by number."""

        def __init__(self, without: frozenset[int]) -> None:
            super().__init__()
            self.without = without

    def __init__(self) -> None:
        super().__init__(compact=True)
        self._sources: tuple[ChatSource, ...] = ()
        self._quotes: tuple[ChatQuote, ...] = ()
        self._answer = ""
        self._without: frozenset[int] = frozenset()
        self._is_open = False
        self._filled_for = 0

    @property
    def can_switch(self) -> bool:
        """Whether the passages are not sent yet."""
        return self._is_open

    def show_sources(self, prepared: PromptPrepared | None, *, is_open: bool) -> None:
        """Show the passages of a prompt; the cursor stays on its line.

        Args:
            prepared: What is sent; None empties the list.
            is_open: Whether passages can still be switched off.
        """
        self._sources = () if prepared is None else prepared.sources
        self._quotes = ()
        if not is_open:
            self._without = frozenset()
        self._is_open = is_open
        self._fill()

    def show_quotes(self, answer: str, quotes: Sequence[ChatQuote]) -> None:
        """Add the quotations of an answer below the passages."""
        self._answer, self._quotes = answer, tuple(quotes)
        self._fill()

    def on_resize(self) -> None:
        """Lines are cut to the width."""
        if self._cells != self._filled_for:
            self._fill()

    def _fill(self) -> None:
        highlighted = self.highlighted
        self._filled_for = cells = self._cells
        self.clear_options()
        self.add_options(Option(source_content(source, cells)) for source in self._sources)
        self.add_options(Option(quote_content(self._answer, quote, cells)) for quote in self._quotes)
        self.highlighted = min(highlighted or 0, self.option_count - 1) if self.option_count else None

    def action_switch(self) -> None:
        index = self.highlighted
        if self._is_open and index is not None and index < len(self._sources):
            self._without ^= {self._sources[index].number}
            self.post_message(self.Switched(self._without))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002  # as inherited
        return (self._is_open and bool(self._sources)) or None if action == "switch" else True

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        places: list[ChatSource | ChatQuote] = [*self._sources, *self._quotes]
        place = places[event.option_index]
        if place.path:
            self.post_message(OpenRequested(place.path, place.line))

    @property
    def _cells(self) -> int:
        return max(20, self.size.width - 3)


def source_content(source: ChatSource, cells: int) -> Content:
    """Two lines: sign, number, place, tokens; then the heading, or why it is not sent."""
    name = source.path.rpartition("/")[2]
    sign = plain("○ ", "$text-muted") if source.left_out else plain("● ", "$success")
    size = "" if source.left_out else f"{source.tokens} tokens"
    page = f" {page_label(source.page_kind, source.page)}".rstrip()
    where = sign + plain_line(f"[{source.number}] {name}:{source.line}{page}", "" if source.left_out else "bold")
    room = cells - len(size) - 1
    first = where.truncate(max(8, room), ellipsis=True, pad=True) + plain_line(f" {size}", "$text-muted")
    about = source.left_out or source.heading.rpartition(" › ")[2]
    style = "$text-muted italic" if source.left_out else "$text-muted"
    return Content("\n").join([first, plain_line(f"  {about}", style).truncate(cells, ellipsis=True)])


def quote_content(answer: str, quote: ChatQuote, cells: int) -> Content:
    """Two lines: whether the words are in a document, and where."""
    words = " ".join(answer[quote.start : quote.end].split())
    shown = words if len(words) <= _QUOTE_CHARACTERS else f"{words[: _QUOTE_CHARACTERS - 1]}…"
    if not quote.verified:
        lines = [plain_line(f"✗ “{shown}”", "$text-error"), plain_line("  not in the documents", "$text-muted")]
    else:
        page = f" {page_label(quote.page_kind, quote.page)}".rstrip()
        remark = f"  {quote.remark}" if quote.remark else ""
        where = f"  {quote.path.rpartition('/')[2]}:{quote.line}{page}{remark}"
        lines = [plain("✓ ", "$success") + plain_line(f"“{shown}”"), plain_line(where, "$text-muted")]
    return Content("\n").join([line.truncate(cells, ellipsis=True) for line in lines])
