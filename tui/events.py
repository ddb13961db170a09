"""What the engine and the library tell the application. Plain values: no widget, no model, no connection.

Every string in here may come from outside (a model, a file, a folder name) and is cleaned where it is shown, in
`tui.widgets.plain`.
"""

from dataclasses import dataclass
from pathlib import Path

from tui.chat_events import AnswerFinished, AnswerWritten, PassagesFound, PromptPrepared, PromptRefused, QuotesChecked
from tui.progress import FinishReason, WritingProgress


@dataclass(frozen=True)
class ModelLoading:
    """The engine has begun to load a model; `path` None is the bundled one, here and below."""

    path: Path | None


@dataclass(frozen=True)
class ModelReady:
    """A model is loaded; `context_length` is the longest text it can see, in tokens."""

    path: Path | None
    context_length: int


@dataclass(frozen=True)
class ModelFailed:
    """A model could not be loaded; `reason` is one line. The model loaded before, if any, stays."""

    path: Path | None
    reason: str


@dataclass(frozen=True)
class TextWritten:
    """More text of continuation `run`."""

    run: int
    text: str
    progress: WritingProgress


@dataclass(frozen=True)
class WritingFinished:
    """Continuation `run` has ended; `detail` is one line when `reason` is "failed"."""

    run: int
    reason: FinishReason
    progress: WritingProgress
    detail: str = ""


@dataclass(frozen=True)
class EmbedderReady:
    """Texts can be embedded now."""


@dataclass(frozen=True)
class EmbedderFailed:
    """Search stays with words; `reason` is one line."""

    reason: str


EngineEvent = (
    ModelLoading
    | ModelReady
    | ModelFailed
    | TextWritten
    | WritingFinished
    | EmbedderReady
    | EmbedderFailed
    | PromptPrepared
    | PromptRefused
    | AnswerWritten
    | AnswerFinished
)


@dataclass(frozen=True)
class FoundPassage:
    """One search result.

    Attributes:
        chunk_id: Key of the passage in the library.
        path: File it is in.
        line: Line it starts at, counted from 1.
        heading: Heading it stands under, "" if there is none.
        snippet: The part that matched.
        marks: Character spans of `snippet` that matched.
        why: One short line: what matched.
        meaning_marks: Character spans of `snippet` that are near the query in meaning.
        match: How good it is: "strong", "weak" or "none".
        page: Its page, counted from 1, where it has one.
        page_kind: What such a page is called: "page", "slide" ...
        is_further: Another place in the file of the passage before it.
    """

    chunk_id: int
    path: str
    line: int
    heading: str
    snippet: str
    marks: tuple[tuple[int, int], ...]
    why: str
    meaning_marks: tuple[tuple[int, int], ...] = ()
    match: str = "strong"
    page: int | None = None
    page_kind: str = ""
    is_further: bool = False


@dataclass(frozen=True)
class SearchFinished:
    """The results of search number `serial`.

    Attributes:
        serial: Its number.
        query: What was typed.
        passages: What was found, best first.
        seconds: How long it took.
        match: How good the best of it is.
        notes: What of the query could not be taken as it was meant.
        like: Where the passage is that others like it were asked for; "" for a query.
    """

    serial: int
    query: str
    passages: tuple[FoundPassage, ...]
    seconds: float
    match: str = "strong"
    notes: tuple[str, ...] = ()
    like: str = ""


@dataclass(frozen=True)
class PassageOpened:
    """The full text of a passage, for the preview."""

    chunk_id: int
    text: str
    marks: tuple[tuple[int, int], ...]
    start_line: int
    meaning_marks: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class LibraryState:
    """What the library holds.

    Attributes:
        documents: Files in it.
        passages: Chunks of text in it.
        with_meaning: Chunks that have an embedding of the current model.
        embedder: Name of the model that searches go by.
        incoming: Name of the one that is taking over from it, if any.
    """

    documents: int = 0
    passages: int = 0
    with_meaning: int = 0
    embedder: str = "default"
    incoming: str | None = None


UPGRADING = "bringing forward"
"""The stage of `IndexingProgress` that ends with the first `LibraryState`."""


@dataclass(frozen=True)
class IndexingProgress:
    """Work on the library: `done` of `total` in a stage.

    Attributes:
        stage: What is being done, as a word for people.
        done: Steps done.
        total: Steps there are; 0 while it is not known.
        label: What is at hand, for example a path.
    """

    stage: str
    done: int
    total: int
    label: str


@dataclass(frozen=True)
class IndexingFinished:
    """Work on the library has ended; `summary` is one line."""

    summary: str
    stopped: bool = False


@dataclass(frozen=True)
class SearchAdapted:
    """The embedder was adapted to the library, or was not better; `summary` is one line."""

    summary: str


@dataclass(frozen=True)
class LibraryFailed:
    """The library could not do what was asked; `reason` is one line."""

    reason: str


LibraryEvent = (
    SearchFinished
    | PassageOpened
    | LibraryState
    | IndexingProgress
    | IndexingFinished
    | SearchAdapted
    | LibraryFailed
    | PassagesFound
    | QuotesChecked
)
