"""The only place where foreign text becomes something a terminal shows.

Textual passes escape sequences of any string on to the terminal, and reads `[...]` in most strings as markup.
Everything in this application that may come from a model, a file, a folder name or an error therefore goes through
`plain` or `marked`, which clean the text and never read markup. A test forbids `Static(`, `Label(` and `notify(`
elsewhere.
"""

from collections.abc import Iterable
from pathlib import Path

from textual.app import App
from textual.content import Content
from textual.widgets import Static

from mlx_mixer.safe_text import safe_line, safe_text

Mark = tuple[int, int]


def plain(text: str, style: str = "") -> Content:
    """Return text as content: cleaned, markup untouched, newlines kept."""
    return Content.styled(safe_text(text), style) if style else Content(safe_text(text))


def plain_line(text: str, style: str = "") -> Content:
    """Return text as one line of content."""
    return plain(safe_line(text), style)


def marked(text: str, marks: Iterable[Mark], style: str) -> Content:
    """Return text as content with the spans in `marks` in `style`.

    Cleaning can change the length of a text, so each piece is cleaned on its own and the spans stay where they belong.

    Args:
        text: Foreign text.
        marks: Character spans of `text`, in any order; parts outside the text are ignored and overlapping spans are
        joined.
        style: Style of the marked pieces; should not be colour alone.
    """
    return marked_twice(text, marks, style, (), style)


def marked_twice(text: str, marks: Iterable[Mark], style: str, others: Iterable[Mark], other_style: str) -> Content:
    """As `marked`, with a second kind of spans; where two overlap, the one that begins first wins."""
    both = sorted([(*span, style) for span in marks] + [(*span, other_style) for span in others])
    pieces: list[Content] = []
    done = 0
    for start, end, chosen in both:
        start, end = max(start, done), min(end, len(text))
        if start >= end:
            continue
        pieces += [plain(text[done:start]), plain(text[start:end], chosen)]
        done = end
    return Content("").join([*pieces, plain(text[done:])])


class Plain(Static):
    """A `Static` that shows strings as they are."""

    def __init__(
        self,
        text: str | Content = "",
        *,
        id: str | None = None,  # noqa: A002  # Textual's own name for it
        classes: str | None = None,
    ) -> None:
        super().__init__(_content(text), id=id, classes=classes, markup=False)

    def show(self, text: str | Content) -> None:
        """Replace what is shown."""
        self.update(_content(text))


def notice(app: App[int], text: str, *, problem: bool = False) -> None:
    """Show a short message in a corner for a few seconds."""
    app.notify(safe_text(text), markup=False, severity="error" if problem else "information")


def short_path(path: str | Path, *, home: str | None = None) -> str:
    """Return a path with the home directory as `~`."""
    text = str(path)
    home = str(Path.home()) if home is None else home
    return f"~{text[len(home) :]}" if home not in ("", "/") and text.startswith(f"{home}/") else text


def _content(text: str | Content) -> Content:
    return text if isinstance(text, Content) else plain(text)
