"""The Search screen: a query, the passages found, and the one being looked at."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Footer, Input, OptionList

from tui.events import (
    EngineEvent,
    IndexingFinished,
    IndexingProgress,
    LibraryEvent,
    LibraryFailed,
    LibraryState,
    PassageOpened,
    SearchFinished,
)
from tui.keymap import bind
from tui.messages import (
    FolderWanted,
    IndexingStopRequested,
    OpenRequested,
    PassageRequested,
    SearchRequested,
    SimilarRequested,
)
from tui.session import Session
from tui.widgets.clean_input import CleanInput
from tui.widgets.hit_list import OPEN_TOOLTIP, HitList, Preview, PreviewText
from tui.widgets.library_status import library_line
from tui.widgets.plain import Plain, notice, plain_line
from tui.widgets.top_bar import TopBar

DEBOUNCE_SECONDS = 0.08

EMPTY_LIBRARY = """\
Nothing to search yet.

Press {add} and choose a folder. The text, Markdown and source code in it can be found by words at once, \
and by meaning a little later. Everything stays on this computer."""
NO_QUERY = """\
Type what you are looking for, in your own words.

Results come while you type. Down and Up choose, {open} opens the file at the line."""
NO_HIT = """\
No passage matches.

Try other or fewer words, or add the folder it might be in with {add}."""


NOTHING_LIKE_IT = """\
No other file has a passage like this one.

Type a query to go on."""


class QueryInput(CleanInput):
    """The query; the list below it can be driven without leaving it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("passage.open", "submit", "Open", OPEN_TOOLTIP),
        Binding("down", "screen.move(1)", "Next", show=False),
        Binding("up", "screen.move(-1)", "Previous", show=False),
        Binding("pagedown", "screen.scroll_preview(1)", "Preview down", show=False),
        Binding("pageup", "screen.scroll_preview(-1)", "Preview up", show=False),
    ]


class SearchScreen(Screen[None]):
    """Asks the application to search, and shows what comes back."""

    AUTO_FOCUS = "QueryInput"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012  # declared so by Textual

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("docs.add", "add_folder", "Add folder", "Make a file or folder searchable."),
        Binding("escape", "back", "Back", show=False, tooltip="Stop indexing, or go back to the query."),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._serial = 0
        self._debounce: Timer | None = None
        self._last: SearchFinished | None = None

    def compose(self) -> ComposeResult:
        yield TopBar("search", self._session.keys)
        # The margin is on a container of its own: Textual would take it off the width of the siblings as well.
        with Container(id="query-line"):
            yield QueryInput(placeholder="Search your documents", compact=True, id="query")
        yield Plain(id="doubt")
        with Container(id="results"):
            yield HitList()
            yield Preview()
        with Vertical(id="blank"):
            yield Plain(id="blank-text")
        with Horizontal(id="library-line"):
            yield Plain(id="library-state")
            yield Plain(id="library-note")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._redraw()

    def show_event(self, event: EngineEvent | LibraryEvent) -> None:
        """Draw what the library did."""
        match event:
            case SearchFinished(serial=serial):
                if serial != self._serial:
                    return
                # The same query again, because the library has grown, must not move the cursor.
                is_same_query = self._last is not None and self._last.query == event.query
                self._last = event
                self.query_one(HitList).show(event.passages, keep_cursor=is_same_query)
                self._redraw()
            case PassageOpened(chunk_id=chunk_id):
                current = self.query_one(HitList).current
                if current is not None and current.chunk_id == chunk_id:
                    self.query_one(Preview).show(current, event)
            case LibraryState() | IndexingFinished():
                self._redraw()
                if self._last is None or not self._last.like:
                    self._search()
            case LibraryFailed(reason=reason):
                notice(self.app, reason, problem=True)
                self._redraw()
            case IndexingProgress():
                self._redraw()
            case _:
                self._redraw()

    def action_move(self, step: int) -> None:
        hits = self.query_one(HitList)
        if hits.option_count:
            hits.highlighted = max(0, min(hits.option_count - 1, (hits.highlighted or 0) + step))

    def action_scroll_preview(self, direction: int) -> None:
        preview = self.query_one(PreviewText)
        preview.scroll_relative(y=direction * max(1, preview.size.height - 2), animate=False)

    def action_open(self) -> None:
        current = self.query_one(HitList).current
        if current is not None:
            self.post_message(OpenRequested(current.path, current.line))

    def action_copy_passage(self) -> None:
        current = self.query_one(HitList).current
        if current is not None:
            self.app.copy_to_clipboard(current.snippet)
            notice(self.app, "Copied.")

    def action_find_similar(self) -> None:
        current = self.query_one(HitList).current
        if current is not None:
            self._serial += 1
            where = f"{current.path.rpartition('/')[2]}:{current.line}"
            self.post_message(SimilarRequested(self._serial, current.chunk_id, where))

    def action_focus_query(self) -> None:
        self.query_one(QueryInput).focus()

    def action_add_folder(self) -> None:
        self.post_message(FolderWanted())

    def action_back(self) -> None:
        if self._session.indexing is not None:
            self.post_message(IndexingStopRequested())
        else:
            self.action_focus_query()

    @on(Input.Changed, "#query")
    def _query_changed(self) -> None:
        if self._debounce is not None:
            self._debounce.stop()
        self._debounce = self.set_timer(DEBOUNCE_SECONDS, self._search)

    @on(Input.Submitted, "#query")
    @on(OptionList.OptionSelected)
    def _chosen(self) -> None:
        self.action_open()

    @on(OptionList.OptionHighlighted)
    def _highlighted(self) -> None:
        current = self.query_one(HitList).current
        if current is not None:
            self.post_message(PassageRequested(current.chunk_id))

    def _search(self) -> None:
        query = self.query_one(QueryInput).value.strip()
        self._serial += 1
        if query:
            self.post_message(SearchRequested(self._serial, query))
        else:
            self._last = None
            self.query_one(HitList).show(())
            self._redraw()

    def _redraw(self) -> None:
        hits = self.query_one(HitList)
        blank = self._blank_text()
        self.query_one("#results").display = blank is None
        self.query_one("#blank").display = blank is not None
        doubt = "" if self._last is None or blank is not None else doubt_text(self._last)
        self.query_one("#doubt", Plain).show(plain_line(doubt, "$text-muted"))
        self.query_one("#doubt").display = bool(doubt)
        self.query_one("#blank-text", Plain).show(self._with_keys(blank or ""))
        if hits.current is None:
            self.query_one(Preview).clear()
        self.query_one("#library-state", Plain).show(library_line(self._session))
        self.query_one("#library-note", Plain).show(plain_line(self._session.library_note, "$text-muted"))
        self.query_one(TopBar).show_note(self._found_text())

    def _blank_text(self) -> str | None:
        if self._last is not None and (self._last.like or self.query_one(QueryInput).value.strip()):
            if self._last.passages:
                return None
            return NOTHING_LIKE_IT if self._last.like else "\n\n".join((NO_HIT, *self._last.notes))
        library = self._session.library
        if library is not None and library.documents == 0 and self._session.indexing is None:
            return EMPTY_LIBRARY
        return NO_QUERY

    def _with_keys(self, text: str) -> str:
        keys = self._session.keys
        return text.format(add=keys.name("docs.add"), open=keys.name("passage.open"))

    def _found_text(self) -> str:
        if self._last is None:
            return ""
        count = len(self._last.passages)
        noun = "passage" if count == 1 else "passages"
        like = f" like {self._last.like}" if self._last.like else ""
        return f"{count} {noun}{like} in {self._last.seconds * 1000:.0f} ms"


def doubt_text(found: SearchFinished) -> str:
    """What must be said of results before they are read; "" where they speak for themselves."""
    nothing = "Nothing good matches; this is the nearest." if found.match == "none" and not found.like else ""
    return " · ".join(part for part in (nothing, *found.notes) if part)
