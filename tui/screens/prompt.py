"""Exactly what is sent: the whole prompt, to be read and copied."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen

from tui.chat_events import PromptPrepared
from tui.widgets.plain import Plain, notice, plain


class PromptScreen(ModalScreen[None]):
    """Shows a prompt, scrolled by the keys of a pager."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.pop_screen", "Close", id="prompt.close"),
        Binding("c", "copy", "Copy", id="prompt.copy"),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]
    AUTO_FOCUS = "#prompt-body"

    def __init__(self, prepared: PromptPrepared) -> None:
        super().__init__()
        self._prepared = prepared

    def compose(self) -> ComposeResult:
        sent = self._prepared
        size = f"{sent.tokens} tokens, {sent.answer_tokens} kept for the answer, of {sent.context_length}"
        with Vertical(classes="dialog -wide"):
            yield Plain(plain("What is sent", "bold") + plain(f"  {size}", "$text-muted"), classes="panel-title")
            with VerticalScroll(id="prompt-body"):
                yield Plain(sent.text, id="prompt-text")
            yield Plain(plain("C copy   Esc close", "$text-muted"), classes="dialog-keys")

    def action_scroll(self, lines: int) -> None:
        self.query_one("#prompt-body", VerticalScroll).scroll_relative(y=lines, animate=False)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self._prepared.text)
        notice(self.app, "Copied.")
