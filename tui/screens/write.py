"""The Write screen: a text that the user begins and the model continues."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.screen import Screen
from textual.widgets import Footer, TextArea

from tui.events import EngineEvent, LibraryEvent, ModelFailed, ModelLoading, ModelReady, TextWritten, WritingFinished
from tui.keymap import bind
from tui.messages import DraftChanged, EditRequested, WritingRequested, WritingStopRequested
from tui.models_on_disk import model_name
from tui.progress import FinishReason, WritingProgress
from tui.reducer import needs_bundled_model
from tui.session import Session
from tui.widgets.manuscript import MAX_PASTE_CHARACTERS, Manuscript
from tui.widgets.plain import Plain, notice, plain
from tui.widgets.settings_panel import SettingsPanel
from tui.widgets.top_bar import TopBar
from tui.widgets.writing_status import Activity, WritingStatus, forgets


class WriteScreen(Screen[None]):
    """Shows the text, the state of the model, and the settings."""

    AUTO_FOCUS = "Manuscript"

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("write.stop", "stop_writing", "Stop", "Stop the model. What it wrote stays."),
        bind("write.retry", "rewrite", "Retry", "Take the last continuation back and write another one."),
        bind("write.settings", "settings", "Settings", "How the model chooses its words, and how many."),
        bind("text.edit", "edit", "Edit in your editor", "Edit the text in $VISUAL or $EDITOR.", show=False),
    ]

    def __init__(self, session: Session, draft: str = "") -> None:
        super().__init__()
        self._session = session
        self._draft = draft
        self._run = 0
        self._activity: Activity = "idle"
        self._progress = WritingProgress()
        self._offers = (False, False)

    def compose(self) -> ComposeResult:
        yield TopBar("write", self._session.keys)
        with Horizontal(id="desk"):
            with Horizontal(id="sheet"):
                yield Manuscript(self._draft, placeholder=self._invitation())
            yield SettingsPanel(self._session.settings)
        yield Plain(id="writing-notice", classes="notice")
        yield WritingStatus()
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one(SettingsPanel).display = False
        manuscript = self.manuscript
        manuscript.move_cursor(manuscript.document.end)
        self._redraw()

    @property
    def manuscript(self) -> Manuscript:
        return self.query_one(Manuscript)

    @property
    def text(self) -> str:
        """The whole text."""
        return self.manuscript.text

    @property
    def is_writing(self) -> bool:
        """Whether a continuation is asked for and not finished."""
        return self._activity in ("waiting", "writing")

    def show_event(self, event: EngineEvent | LibraryEvent) -> None:
        """Draw what the engine did."""
        match event:
            case TextWritten(run=run, text=text, progress=progress) if run == self._run and self.is_writing:
                self._activity, self._progress = "writing", progress
                self.manuscript.continue_with(text)
                self._warn_of_slide()
            case WritingFinished(run=run, reason=reason, progress=progress, detail=detail) if run == self._run:
                if self.is_writing:
                    self._finish(reason, progress if progress.tokens else self._progress, detail)
            case ModelLoading():
                self._progress = WritingProgress()
            case ModelFailed(reason=reason):
                if self._activity == "waiting":
                    self._finish("failed", self._progress)
                falls_back = needs_bundled_model(self._session, event)
                remedy = (
                    "The bundled model is used instead."
                    if falls_back
                    else f"{self._key('model.choose')} chooses another model."
                )
                self._notice(f"✗ {reason}. {remedy}")
            case ModelReady():
                pass
            case _:
                return
        self._redraw()

    def action_continue_text(self) -> None:
        if self.is_writing:
            return
        prompt = self.manuscript.text_before_cursor
        if not prompt.strip():
            self._notice("Write a few words first: the model continues what stands before the cursor.")
            return
        if self._session.model_state == "failed":
            self._notice(f"No model is loaded. {self._key('model.choose')} chooses one.")
            return
        self.manuscript.begin_continuation()
        self._run += 1
        self._activity, self._progress = "waiting", WritingProgress()
        self._notice("")
        self.post_message(WritingRequested(self._run, prompt, self._session.settings))
        self._redraw()

    def action_stop_writing(self) -> None:
        if self.is_writing:
            self.post_message(WritingStopRequested())
            self._finish("cancelled", self._progress)
            self._redraw()
        else:
            self._notice("")
            self.manuscript.focus()

    def action_rewrite(self) -> None:
        if self.is_writing:
            self.action_stop_writing()
        if self.manuscript.discard_continuation():
            self.action_continue_text()
            if self._session.settings.seed is not None:
                self._notice(
                    f"The seed is fixed, so the same text comes again. {self._key('write.settings')} changes it."
                )

    def action_settings(self) -> None:
        self.query_one(SettingsPanel).open()

    def action_edit(self) -> None:
        if self.is_writing:
            self.action_stop_writing()
        self.post_message(EditRequested(self.text, self.manuscript.cursor_location[0] + 1))

    def replace_text(self, text: str) -> None:
        """Put another text in place of the whole; one undo brings the old one back."""
        if text != self.text:
            self.manuscript.replace(text, (0, 0), self.manuscript.document.end)
            self.manuscript.move_cursor(self.manuscript.document.end)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002  # as inherited
        """Offer only what makes sense now."""
        if not self.is_mounted:
            return True
        if action == "stop_writing":
            return self.is_writing or not self.manuscript.has_focus or None
        if action == "rewrite":
            return self.is_writing or self.manuscript.has_continuation or None
        return True

    @on(Manuscript.TookOver)
    def _user_took_over(self) -> None:
        if self.is_writing:
            self.post_message(WritingStopRequested())
            self._finish("cancelled", self._progress)
            self._redraw()

    @on(Manuscript.PasteRefused)
    def _paste_refused(self) -> None:
        notice(
            self.app,
            f"That paste is longer than {MAX_PASTE_CHARACTERS:,} characters; paste a part of it.",
            problem=True,
        )

    @on(TextArea.Changed)
    def _text_changed(self) -> None:
        self.post_message(DraftChanged())
        self._refresh_offers()

    @on(SettingsPanel.Changed)
    def _settings_changed(self, message: SettingsPanel.Changed) -> None:
        self._session.settings = message.settings

    @on(SettingsPanel.Closed)
    def _settings_closed(self) -> None:
        self.manuscript.focus()

    def _finish(self, reason: FinishReason, progress: WritingProgress, detail: str = "") -> None:
        self._activity, self._progress = reason, progress
        self.manuscript.end_continuation()
        if reason == "failed" and detail:
            self._notice(f"✗ {detail}")
        elif reason == "length":
            self._notice(
                f"Reached {progress.tokens} tokens. {self._key('write.continue')} goes on from here,"
                f" {self._key('write.settings')} changes the limit."
            )

    def _invitation(self) -> str:
        go, stop = self._key("write.continue"), self._key("write.stop")
        return (
            f"Write a beginning and press {go}: the model continues from the cursor.\n"
            f"{stop} stops it and keeps what it wrote."
        )

    def _key(self, command: str) -> str:
        return self._session.keys.name(command)

    def _warn_of_slide(self) -> None:
        if forgets(self._progress):
            self._notice("▲ The window is full. The model no longer sees the oldest part of the text.")

    def _notice(self, text: str) -> None:
        line = self.query_one("#writing-notice", Plain)
        line.show(plain(text))
        line.display = bool(text)

    def _redraw(self) -> None:
        self.query_one(WritingStatus).show(self._session, self._activity, self._progress)
        self.query_one(TopBar).show_note(model_name(self._session.model_path))
        self._refresh_offers()

    def _refresh_offers(self) -> None:
        # Rebuilding the footer costs more than drawing a key press: only when something in it changes.
        offers = (self.is_writing, self.manuscript.has_continuation)
        if offers != self._offers:
            self._offers = offers
            self.refresh_bindings()
