"""The results of a search, and the passage that is being looked at."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from mlx_mixer.documents.structure import page_label
from tui.events import FoundPassage, PassageOpened
from tui.keymap import bind
from tui.widgets.plain import Mark, Plain, marked_twice, plain_line, short_path

OPEN_TOOLTIP = "Open the file at the line, in $VISUAL or $EDITOR."
MARK_STYLE = "$accent bold underline"
MEANING_STYLE = "$primary italic"
WHY_BESIDE_CELLS = 70
"""From this width on, the reason stands at the end of the first line and saves one."""


class HitList(OptionList):
    """The hits, best first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False),
        Binding("k", "cursor_up", "Up", show=False),
        bind("passage.open", "select", "Open", OPEN_TOOLTIP),
        Binding("o", "select", "Open", show=False),
        bind("passage.copy", "screen.copy_passage", "Copy", "Copy the passage."),
        bind("search.like", "screen.find_similar", "More like this", "Find passages like this one, by meaning."),
        bind("search.query", "screen.focus_query", "Query", "Go back to the query."),
    ]

    def __init__(self) -> None:
        super().__init__(compact=True)
        self._passages: tuple[FoundPassage, ...] = ()
        self._filled_for = 0

    @property
    def current(self) -> FoundPassage | None:
        """The passage under the cursor."""
        index = self.highlighted
        return None if index is None or index >= len(self._passages) else self._passages[index]

    def show(self, passages: Sequence[FoundPassage], *, keep_cursor: bool = False) -> None:
        """Replace the hits; the cursor goes to the best, or stays on its passage if that is wanted and still there."""
        kept = self.current.chunk_id if keep_cursor and self.current is not None else None
        self._passages = tuple(passages)
        self._fill()
        indices = [index for index, passage in enumerate(self._passages) if passage.chunk_id == kept]
        self.highlighted = indices[0] if indices else (0 if self._passages else None)

    def on_resize(self) -> None:
        """Lines are cut to the width; the cursor stays."""
        if self._cells != self._filled_for:
            highlighted = self.highlighted
            self._fill()
            self.highlighted = highlighted

    @property
    def _cells(self) -> int:
        return max(10, self.size.width - 4)

    def _fill(self) -> None:
        self._filled_for = self._cells
        self.clear_options()
        self.add_options(Option(hit_content(passage, self._filled_for)) for passage in self._passages)


def hit_content(passage: FoundPassage, cells: int) -> Content:
    """Return where a passage is, its words in their context, and why it was found, in lines of at most `cells`."""
    if passage.is_further:
        return further_content(passage).truncate(cells, ellipsis=True)
    where, why = place(passage), plain_line(reason(passage), "$text-muted italic")
    text, marks, near = around_first_mark(passage.snippet, passage.marks, passage.meaning_marks, cells)
    snippet = marked_twice(text, marks, MARK_STYLE, near, MEANING_STYLE)
    if cells >= WHY_BESIDE_CELLS:
        why = why.truncate(cells * 9 // 20, ellipsis=True)
        room = cells - why.cell_length - 2
        first = where.truncate(room, ellipsis=True, pad=True) + Content("  ") + why
        return Content("\n").join([first, snippet.truncate(cells, ellipsis=True)])
    lines = (where, snippet, why)
    return Content("\n").join(line.truncate(cells, ellipsis=True) for line in lines)


def reason(passage: FoundPassage) -> str:
    """Return why a passage was found; a match that is not strong says so first."""
    doubt = {"weak": "weak", "none": "hardly"}.get(passage.match, "")
    return " · ".join(part for part in (doubt, passage.why) if part)


def further_content(passage: FoundPassage) -> Content:
    """Return the line of another place in the same file."""
    heading = passage.heading.rpartition(" › ")[2]
    return plain_line(f"    :{passage.line}{_page(passage)}", "bold") + plain_line(
        f"  {heading or 'further down'}", "$text-muted"
    )


def place(passage: FoundPassage) -> Content:
    """Return file, line, last heading and folder; what is read first comes first, in bold."""
    folder, slash, name = short_path(passage.path).rpartition("/")
    heading = passage.heading.rpartition(" › ")[2]
    text = plain_line(f"{name}:{passage.line}{_page(passage)}", "bold")
    text += plain_line(f"  {heading}" if heading else "")
    return text + plain_line(f"  {folder}{slash}", "$text-muted")


def _page(passage: FoundPassage) -> str:
    return f" {page_label(passage.page_kind, passage.page)}".rstrip()


def around_first_mark(
    text: str, marks: tuple[Mark, ...], near: tuple[Mark, ...], cells: int
) -> tuple[str, tuple[Mark, ...], tuple[Mark, ...]]:
    """Return the part of a one-line text that shows its first mark when only `cells` characters are seen.

    What is near in meaning decides only where nothing matches.
    """
    first = min((start for start, _ in marks or near), default=0)
    if first < cells * 2 // 3:
        return text, marks, near
    cut = text.rfind(" ", 0, first - cells // 4) + 1

    def moved(spans: tuple[Mark, ...]) -> tuple[Mark, ...]:
        return tuple((start - cut + 1, end - cut + 1) for start, end in spans if start >= cut)

    return "…" + text[cut:], moved(marks), moved(near)


class PreviewText(VerticalScroll, can_focus=True):
    """The text of the passage, scrolled by the keys of a pager."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "Down", show=False),
        Binding("k", "scroll_up", "Up", show=False),
    ]

    def compose(self) -> ComposeResult:
        yield Plain(id="preview-text")

    def show(self, opened: PassageOpened) -> None:
        """Show a text, scrolled so that its first marked word is seen."""
        text = marked_twice(opened.text, opened.marks, MARK_STYLE, opened.meaning_marks, MEANING_STYLE)
        self.query_one(Plain).show(text)
        first = min((start for start, _ in opened.marks or opened.meaning_marks), default=0)
        line = len(text[:first].wrap(max(1, self.size.width - 5)))
        # Where it can be seen from the top, the top is shown.
        self.scroll_to(y=max(0, line - 2) if line > self.size.height else 0, animate=False)


class Preview(Vertical):
    """The passage under the cursor, whole, below a line that says where it is."""

    def compose(self) -> ComposeResult:
        yield Plain(id="preview-title")
        yield PreviewText()

    def show(self, passage: FoundPassage, opened: PassageOpened) -> None:
        """Show a passage."""
        self.query_one("#preview-title", Plain).show(place(passage))
        self.query_one(PreviewText).show(opened)

    def clear(self) -> None:
        self.query_one("#preview-title", Plain).show("")
        self.query_one("#preview-text", Plain).show("")
