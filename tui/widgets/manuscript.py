"""The document of the Write screen: the latest continuation is visibly the model's until the user goes on."""

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import BindingType
from textual.document._document import EditResult
from textual.document._edit import Edit
from textual.document._history import EditHistory
from textual.message import Message
from textual.widgets import TextArea
from textual.widgets.text_area import Location

from mlx_mixer.safe_text import safe_text
from tui.keymap import bind

MAX_PASTE_CHARACTERS = 262_144
"""A paste of 1 MB takes Textual about two seconds; up to here it is a fraction of one."""


class _History(EditHistory):
    """An undo history in which all edits between `begin_step` and `end_step` are undone at once."""

    _step: list[Edit] | None = None
    is_recording_step = False

    def begin_step(self) -> None:
        self.checkpoint()
        self._step = None

    def end_step(self) -> None:
        self.checkpoint()
        self._step = None

    def record(self, edit: Edit) -> None:
        # The base class begins a new batch with every edit of more than one character and every move of the cursor.
        if self.is_recording_step and self._step is not None:
            self._step.append(edit)
            self._redo_stack.clear()
            return
        super().record(edit)
        if self.is_recording_step:
            self._step = self._undo_stack[-1]


@dataclass
class _Continuation:
    start: Location
    end: Location
    is_growing: bool = True


class Manuscript(TextArea):
    """Text that the user and the model write in turn.

    Between `begin_continuation` and `end_continuation` the model appends with `continue_with`; that text is shown in
    the style `manuscript--continuation` until the user edits, undoes, or lets the model continue again. One undo
    removes all of it. An edit by the user while the model writes posts `TookOver`.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"manuscript--continuation"}
    # Slanted as well as coloured: colour alone must not say whose words they are.
    DEFAULT_CSS = """
    Manuscript .manuscript--continuation {
        color: $accent;
        text-style: italic;
    }
    """

    # Tab is free here because this is the only thing on its screen that takes the focus while the settings are closed,
    # it passes every terminal, and completion in editors has taught it. F5 is for those who rebind or cannot use Tab.
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(
            "write.continue",
            "screen.continue_text",
            "Continue",
            "Let the model continue from the cursor. The text before the cursor is what it sees.",
        ),
    ]

    class TookOver(Message):
        """The user edited while the model was writing."""

    class PasteRefused(Message):
        """A paste was longer than `MAX_PASTE_CHARACTERS`."""

    def __init__(self, text: str = "", *, placeholder: str = "") -> None:
        super().__init__(
            safe_text(text),
            placeholder=placeholder,
            highlight_cursor_line=False,
            tab_behavior="focus",
            soft_wrap=True,
        )
        self.match_cursor_bracket = False
        # A blinking cursor is restless, and wakes the computer twice a second.
        self.cursor_blink = False
        self._steps = _History(max_checkpoints=200, checkpoint_timer=2.0, checkpoint_max_characters=100)
        self.history = self._steps
        self._continuation: _Continuation | None = None
        self._is_model_writing = False

    @property
    def text_before_cursor(self) -> str:
        return self.get_text_range((0, 0), self.cursor_location)

    @property
    def has_continuation(self) -> bool:
        """Whether the latest continuation is still as the model left it."""
        return self._continuation is not None

    def begin_continuation(self) -> None:
        """Keep what there is and make the cursor the place where the model writes."""
        self.settle()
        self.selection = self.selection.cursor(self.cursor_location)
        self._continuation = _Continuation(self.cursor_location, self.cursor_location)
        self._steps.begin_step()

    def continue_with(self, text: str) -> None:
        """Append text of the model; the cursor stays at its end unless the user has moved away."""
        continuation = self._continuation
        if continuation is None or not continuation.is_growing or not text:
            return
        follows = self.cursor_location == continuation.end
        self._is_model_writing = self._steps.is_recording_step = True
        try:
            result = self.insert(text, continuation.end, maintain_selection_offset=not follows)
        finally:
            self._is_model_writing = self._steps.is_recording_step = False
        continuation.end = result.end_location
        if follows:
            self.move_cursor(continuation.end)

    def end_continuation(self) -> None:
        """The model has finished; its text keeps its style until the user goes on."""
        if self._continuation is not None:
            self._continuation.is_growing = False
            if self._continuation.start == self._continuation.end:
                self._continuation = None
        self._steps.end_step()

    def settle(self) -> None:
        """Make the continuation part of the text like any other."""
        if self._continuation is None:
            return
        was_growing = self._continuation.is_growing
        self._continuation = None
        self._steps.end_step()
        self.notify_style_update()
        self.refresh()
        if was_growing:
            self.post_message(self.TookOver())

    def discard_continuation(self) -> bool:
        """Take back the latest continuation, if the user has not gone on since; return whether there was one."""
        if self._continuation is None or self._continuation.is_growing:
            return False
        self.undo()
        return True

    def edit(self, edit: Edit) -> EditResult:
        """Perform an edit; what is inserted is cleaned, wherever it comes from."""
        if not self._is_model_writing:
            self.settle()
        edit.text = safe_text(edit.text)
        return super().edit(edit)

    def undo(self) -> None:
        self.settle()
        super().undo()

    def redo(self) -> None:
        self.settle()
        super().redo()

    def get_line(self, line_index: int) -> Text:
        """Return a line with the part in it that the model has just written in its own style."""
        line = super().get_line(line_index)
        if self._continuation is not None:
            (first, start), (last, end) = self._continuation.start, self._continuation.end
            if first <= line_index <= last:
                style = self.get_component_rich_style("manuscript--continuation", partial=True)
                line.stylize(style, start if line_index == first else 0, end if line_index == last else len(line))
        return line

    def on_paste(self, event: events.Paste) -> None:
        if len(event.text) > MAX_PASTE_CHARACTERS:
            event.prevent_default()
            event.stop()
            self.post_message(self.PasteRefused())
