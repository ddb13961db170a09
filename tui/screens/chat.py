"""The Chat screen: a question, the passages that would be sent for it, and the answer with its quotations checked."""

from typing import ClassVar, Literal

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Footer, Input

from tui import messages
from tui.chat_events import (
    AnswerFinished,
    AnswerWritten,
    ChatRequest,
    ChatTurn,
    PassagesFound,
    PromptPrepared,
    PromptRefused,
    QuotesChecked,
)
from tui.events import EngineEvent, LibraryEvent, LibraryFailed, ModelReady
from tui.keymap import bind
from tui.models_on_disk import model_name
from tui.progress import WritingProgress
from tui.session import Session
from tui.widgets.chat_status import ChatState, chat_line, prompt_line, sources_title
from tui.widgets.clean_input import CleanInput
from tui.widgets.plain import Plain, plain
from tui.widgets.source_list import SourceList
from tui.widgets.top_bar import TopBar
from tui.widgets.transcript import Transcript

INVITATION = """\
Ask something, and see which passages of your documents would be sent before anything is.

{docs} answers without documents. What is in quotation marks in an answer is looked up: ✓ stands in a document, ✗ does \
not. Nothing leaves this computer."""


class QuestionInput(CleanInput):
    """The question; Enter asks, and Enter again sends."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("chat.ask", "submit", "Ask", "Look passages up for the question; then send them."),
        Binding("pagedown", "screen.scroll_transcript(1)", show=False),
        Binding("pageup", "screen.scroll_transcript(-1)", show=False),
        Binding("up", "screen.recall(-1)", show=False),
        Binding("down", "screen.recall(1)", show=False),
    ]


class ChatScreen(Screen[None]):
    """Asks the application to find, prepare and answer, and shows what comes back."""

    AUTO_FOCUS = "QuestionInput"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012  # declared so by Textual

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("chat.stop", "stop", "Stop", "Stop the answer and keep it, or drop the question."),
        bind("chat.docs", "documents", "Docs", "Answer from your documents, or without them."),
        bind("chat.prompt", "prompt", "Prompt", "Show exactly what is sent."),
        bind("chat.new", "new", "New", "Forget what was said."),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._uses_documents = True
        self._serial = 0
        self._state: ChatState = "idle"
        self._question = ""
        self._prepared: PromptPrepared | None = None
        self._progress = WritingProgress()
        self._turns: list[ChatTurn] = []
        self._recalled = 0

    def compose(self) -> ComposeResult:
        yield TopBar("chat", self._session.keys)
        with Container(id="talk"):
            with Vertical(id="transcript-side"):
                yield Plain(id="invitation")
                yield Transcript()
            with Vertical(id="source-side"):
                yield Plain(id="sources-title")
                yield SourceList()
        yield Plain(id="chat-notice", classes="notice")
        with Container(id="question-line"):
            yield QuestionInput(placeholder="Ask your documents", compact=True, id="question")
        with Horizontal(id="chat-status"):
            yield Plain(id="chat-state")
            yield Plain(id="chat-prompt")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._redraw()

    def show_event(self, event: EngineEvent | LibraryEvent) -> None:
        """Draw what became of the question; anything about an earlier one is late."""
        match event:
            case PromptPrepared() if event.serial == self._serial and self._state in ("looking", "ready"):
                self._take_prompt(event)
            case PromptRefused(serial=serial, reason=reason) if serial == self._serial:
                self._fail(reason)
            case LibraryFailed(reason=reason) if self._state == "looking":
                self._fail(reason)
            case AnswerWritten(serial=serial, text=text, progress=progress) if self._is_answering(serial):
                self._state, self._progress = "answering", progress
                self.query_one(Transcript).write(text)
            case AnswerFinished(serial=serial, reason=reason) if self._is_answering(serial):
                self._finish(reason, event.progress, event.detail)
            case QuotesChecked(serial=serial, quotes=quotes) if serial == self._serial:
                transcript = self.query_one(Transcript)
                transcript.mark(quotes)
                self.query_one(SourceList).show_quotes(transcript.answer, quotes)
            case ModelReady() if self._state == "ready":
                self._ask(self._question)  # what was prepared is in another model's tokens
            case PassagesFound():
                return
            case _:
                pass
        self._redraw()

    def action_stop(self) -> None:
        if self._state in ("sent", "answering"):
            self.post_message(messages.AnswerStopRequested())
            self._finish("cancelled", self._progress)
        elif self._state in ("looking", "ready") and self._is_question_focused:
            self._drop()
        else:
            self._notice("")
        self.query_one(QuestionInput).focus()
        self._redraw()

    def action_documents(self) -> None:
        self._uses_documents = not self._uses_documents
        if self._state in ("looking", "ready"):
            self._drop()
        self._redraw()

    def action_prompt(self) -> None:
        if self._prepared is not None:
            self.post_message(messages.PromptWanted(self._prepared))

    def action_new(self) -> None:
        if self._state in ("sent", "answering"):
            self.action_stop()
        self._turns.clear()
        self._drop()
        self._state = "idle"
        self.query_one(Transcript).clear()
        self.query_one(QuestionInput).value = ""
        self._redraw()

    def action_scroll_transcript(self, direction: int) -> None:
        transcript = self.query_one(Transcript)
        transcript.scroll_relative(y=direction * max(1, transcript.size.height - 2), animate=False)

    def action_recall(self, step: int) -> None:
        """Bring an earlier question back."""
        asked = [turn.text for turn in self._turns if turn.role == "user"]
        self._recalled = max(-len(asked), min(0, self._recalled + step))
        entry = self.query_one(QuestionInput)
        entry.value = asked[self._recalled] if self._recalled else ""
        entry.cursor_position = len(entry.value)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002  # as inherited
        """Offer only what makes sense now."""
        return (self._prepared is not None or None) if action == "prompt" else True

    @on(Input.Submitted, "#question")
    def _submitted(self) -> None:
        question = self.query_one(QuestionInput).value.strip()
        if self._state in ("sent", "answering", "looking"):
            return
        if self._state == "ready" and question == self._question:
            self._send()
        elif question:
            self._ask(question)
        self._redraw()

    @on(Input.Changed, "#question")
    def _changed(self) -> None:
        # What would be sent belongs to the question as it stood.
        if self._state in ("looking", "ready") and self.query_one(QuestionInput).value.strip() != self._question:
            self._drop()
            self._redraw()

    @on(SourceList.Switched)
    def _switched(self, message: SourceList.Switched) -> None:
        self.post_message(messages.SourcesChosen(message.without))

    def _ask(self, question: str) -> None:
        if self._session.model_state == "failed":
            self._notice(f"No model is loaded. {self._session.keys.name('model.choose')} chooses one.")
            return
        self._serial += 1
        self._question, self._state, self._prepared = question, "looking", None
        self._recalled = 0
        self._notice("")
        request = ChatRequest(self._serial, question, tuple(self._turns))
        self.query_one(SourceList).show_sources(None, is_open=False)
        self.post_message(messages.QuestionAsked(request, self._uses_documents))

    def _take_prompt(self, prepared: PromptPrepared) -> None:
        self._prepared, self._state = prepared, "ready"
        self.query_one(SourceList).show_sources(prepared, is_open=True)
        if prepared.grounding is None:
            self._send()
        elif prepared.doubt:
            sentence = prepared.doubt[0].upper() + prepared.doubt[1:]
            self._notice(f"▲ {sentence}. {self._remedy()}")

    def _remedy(self) -> str:
        library, keys = self._session.library, self._session.keys
        if library is not None and not library.documents:
            return f"{keys.name('view.search')}, then {keys.name('docs.add')} adds a folder."
        return "Enter asks the model all the same, Esc does not."

    def _send(self) -> None:
        self._state, self._progress = "sent", WritingProgress()
        self._notice("")
        self.query_one(SourceList).show_sources(self._prepared, is_open=False)
        self.query_one(Transcript).ask(self._question)
        self.query_one(QuestionInput).value = ""
        self.post_message(messages.AnswerRequested(self._serial))

    @property
    def _is_question_focused(self) -> bool:
        return self.query_one(QuestionInput).has_focus

    @on(events.DescendantFocus)
    def _focus_moved(self) -> None:
        self._redraw()

    def _is_answering(self, serial: int) -> bool:
        return serial == self._serial and self._state in ("sent", "answering")

    def _finish(
        self, reason: Literal["stop", "length", "cancelled", "failed"], progress: WritingProgress, detail: str = ""
    ) -> None:
        self._state = reason
        self._progress = progress if progress.tokens else self._progress
        answer = self.query_one(Transcript).answer
        if detail:
            self._notice(f"✗ {detail}")
        if not answer:
            return
        self._turns += [ChatTurn("user", self._question), ChatTurn("assistant", answer.strip())]
        if self._prepared is not None and self._prepared.grounding is not None:
            self.post_message(messages.QuotesDoubted(self._prepared, answer))

    def _fail(self, reason: str) -> None:
        self._drop()
        self._state = "failed"
        self._notice(f"✗ {reason}")

    def _drop(self) -> None:
        self._state, self._prepared = "idle", None
        self._notice("")
        self.query_one(SourceList).show_sources(None, is_open=False)

    def _notice(self, text: str) -> None:
        line = self.query_one("#chat-notice", Plain)
        line.show(plain(text))
        line.display = bool(text)

    def _redraw(self) -> None:
        has_talk = not self.query_one(Transcript).is_empty
        self.query_one("#invitation", Plain).show(
            plain(INVITATION.format(docs=self._session.keys.name("chat.docs")), "$text-muted")
        )
        self.query_one("#invitation").display = not has_talk
        self.query_one(Transcript).display = has_talk
        is_grounded = self._prepared is not None and self._prepared.grounding is not None
        self.query_one("#source-side").display = is_grounded
        self.query_one("#sources-title", Plain).show(sources_title(self._prepared, self._state))
        self.query_one("#chat-state", Plain).show(
            chat_line(self._session, self._state, self._progress, is_asking=self._is_question_focused)
        )
        self.query_one("#chat-prompt", Plain).show(prompt_line(self._prepared, uses_documents=self._uses_documents))
        self.query_one(QuestionInput).placeholder = "Ask your documents" if self._uses_documents else "Ask the model"
        self.query_one(TopBar).show_note(model_name(self._session.model_path))
        self.refresh_bindings()
