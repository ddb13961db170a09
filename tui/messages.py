"""What the user meant, posted by widgets and screens and handled by the application."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from textual.message import Message

from mlx_mixer.sampling import SamplingSettings
from tui.chat_events import ChatRequest, PromptPrepared
from tui.events import EngineEvent, LibraryEvent
from tui.models_on_disk import ModelFolder

Mode = Literal["write", "search", "chat"]


@dataclass
class EngineReport(Message):
    """Carries an event of the engine to the application's thread."""

    event: EngineEvent


@dataclass
class LibraryReport(Message):
    """Carries an event of the library to the application's thread."""

    event: LibraryEvent


@dataclass
class ModeRequested(Message):
    """Go to another screen."""

    mode: Mode


@dataclass
class WritingRequested(Message):
    """Continue `prompt`."""

    run: int
    prompt: str
    settings: SamplingSettings


@dataclass
class WritingStopRequested(Message):
    """Stop writing; what has been written stays."""


@dataclass
class ModelChosen(Message):
    """Load the model in this folder, or the bundled one."""

    path: Path | None


@dataclass
class SearchRequested(Message):
    """Search the library."""

    serial: int
    query: str


@dataclass
class SimilarRequested(Message):
    """Find passages like one that is in the library; `place` names it for people."""

    serial: int
    chunk_id: int
    place: str


@dataclass
class PassageRequested(Message):
    """Fetch the full text of a passage for the preview."""

    chunk_id: int


@dataclass
class FolderChosen(Message):
    """Add a file or folder to the library."""

    path: Path


class ChatMessage(Message):
    """Something about a question; see `tui.asking`."""


@dataclass
class QuestionAsked(ChatMessage):
    """Put a prompt together for a question, from documents or without."""

    request: ChatRequest
    uses_documents: bool


@dataclass
class SourcesChosen(ChatMessage):
    """Put the prompt together again, without some passages."""

    without: frozenset[int]


@dataclass
class AnswerRequested(ChatMessage):
    """Send the prompt that was prepared for question `serial`."""

    serial: int


@dataclass
class AnswerStopRequested(ChatMessage):
    """Stop the answer; what has been written stays."""


@dataclass
class QuotesDoubted(ChatMessage):
    """Look the quotations of an answer up."""

    prepared: PromptPrepared
    answer: str


@dataclass
class PromptWanted(ChatMessage):
    """Show exactly what is sent."""

    prepared: PromptPrepared


@dataclass
class IndexingStopRequested(Message):
    """Stop the work on the library; it can be taken up again later."""


@dataclass
class OpenRequested(Message):
    """Open a file at a line in the user's editor."""

    path: str
    line: int


@dataclass
class DraftChanged(Message):
    """The text of the Write screen is no longer what was kept last."""


@dataclass
class EditRequested(Message):
    """Edit this text in the user's editor, at a line."""

    text: str
    line: int


@dataclass
class FolderWanted(Message):
    """Ask for a file or folder to add to the library."""


@dataclass
class SaveWanted(Message):
    """Ask for a file to write the text to."""


@dataclass
class ModelsListed(Message):
    """The model folders on this computer."""

    models: tuple[ModelFolder, ...]
