"""What the application does about a question: it takes it from the library to the engine and back.

QuestionAsked -> library finds passages -> engine prepares the prompt -> the user looks at it
AnswerRequested -> engine answers -> QuotesDoubted -> library checks the quotations
"""

from dataclasses import replace

from tui import messages
from tui.chat_events import ChatRequest, PassagesFound
from tui.engine import Engine
from tui.events import EngineEvent, LibraryEvent
from tui.librarian import Librarian
from tui.session import Session


class Asking:
    """The question at hand."""

    def __init__(self, session: Session, engine: Engine, librarian: Librarian) -> None:
        self._session = session
        self._engine = engine
        self._librarian = librarian
        self._request = ChatRequest(0, "")

    def do(self, message: messages.ChatMessage) -> None:
        """Do what the chat screen asks for."""
        match message:
            case messages.QuestionAsked(request=request, uses_documents=uses_documents):
                self._request = replace(request, max_tokens=self._session.settings.max_tokens)
                if uses_documents:
                    self._librarian.find_passages(request.serial, request.question)
                else:
                    self._engine.prepare(self._request)
            case messages.SourcesChosen(without=without):
                self._request = replace(self._request, without=without)
                self._engine.prepare(self._request)
            case messages.AnswerRequested(serial=serial):
                self._engine.answer(serial, self._session.settings)
            case messages.AnswerStopRequested():
                self._engine.cancel()
            case messages.QuotesDoubted(prepared=prepared, answer=answer) if prepared.grounding is not None:
                self._librarian.check_quotes(prepared.serial, answer, prepared.grounding)

    def take(self, event: EngineEvent | LibraryEvent) -> None:
        """Hand what the library found on to the engine, unless another question was asked since."""
        if isinstance(event, PassagesFound) and event.serial == self._request.serial:
            self._request = replace(self._request, candidates=event.candidates)
            self._engine.prepare(self._request)
