"""The conversation: questions and answers, one below the other, the latest being written."""

from collections.abc import Sequence

from textual.containers import VerticalScroll
from textual.content import Content

from tui.chat_events import ChatQuote
from tui.widgets.plain import Plain, plain

MAX_SHOWN = 20
"""Exchanges that stay on the screen; a long conversation must not make typing slow."""

VERIFIED_STYLE = "$success underline"
UNVERIFIED_STYLE = "$text-error italic"
_CLOSING = tuple('"”’“»›`')


class Transcript(VerticalScroll, can_focus=True):
    """Shows exchanges and stays at the end while an answer grows, unless the user has scrolled away."""

    def __init__(self) -> None:
        super().__init__()
        self._answer: Plain | None = None
        self._text = ""

    def on_mount(self) -> None:
        self.anchor()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said yet."""
        return self._answer is None

    @property
    def answer(self) -> str:
        """The latest answer, as far as it has come."""
        return self._text

    def ask(self, question: str) -> None:
        """Begin an exchange."""
        self._text = ""
        self._answer = Plain(classes="answer")
        self.mount(Plain(plain("› ", "$primary bold") + plain(question, "bold"), classes="question"), self._answer)
        for old in list(self.children)[: -2 * MAX_SHOWN]:
            old.remove()
        self.anchor()

    def write(self, text: str) -> None:
        """Append to the latest answer."""
        self._text += text
        if self._answer is not None:
            self._answer.show(self._text)

    def mark(self, quotes: Sequence[ChatQuote]) -> None:
        """Mark the quotations of the latest answer: by a sign and a line, and only then by colour."""
        if self._answer is not None:
            self._answer.show(marked_answer(self._text, quotes))

    def clear(self) -> None:
        """Forget what was said."""
        self.remove_children()
        self._answer, self._text = None, ""


def marked_answer(answer: str, quotes: Sequence[ChatQuote]) -> Content:
    """An answer with each quotation in its style, and behind it ✓ and its passage, or ✗."""
    pieces: list[Content] = []
    done = 0
    for quote in quotes:
        pieces.append(plain(answer[done : quote.start]))
        # The sign stands behind the mark that closes the quotation.
        end = quote.end + (answer[quote.end : quote.end + 1] in _CLOSING)
        body = answer[quote.start : end]
        words = body.rstrip("\n")
        pieces.append(plain(words, VERIFIED_STYLE if quote.verified else UNVERIFIED_STYLE))
        pieces.append(plain("✓", "$success bold") if quote.verified else plain("✗", "$text-error bold"))
        pieces.append(plain(body[len(words) :]))
        done = end
    return Content("").join([*pieces, plain(answer[done:])])
