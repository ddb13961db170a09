"""What becomes of a question: passages are found, a prompt is made, an answer comes, its quotations are checked.

Every string in here may come from a model or a file, and is cleaned where it is shown.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tui.progress import FinishReason, WritingProgress

if TYPE_CHECKING:
    from mlx_mixer.grounding.candidates import Candidates
    from mlx_mixer.grounding.pack import Grounding


@dataclass(frozen=True)
class ChatTurn:
    """One message of the conversation."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True)
class ChatRequest:
    """A question, and all that belongs into its prompt.

    Attributes:
        serial: Number of the question.
        question: As it was asked.
        turns: What was said before, oldest first.
        candidates: Passages that may be sent; None asks without documents.
        without: Numbers of passages that the user does not want to send.
        max_tokens: Longest answer.
    """

    serial: int
    question: str
    turns: tuple[ChatTurn, ...] = ()
    candidates: "Candidates | None" = None
    without: frozenset[int] = frozenset()
    max_tokens: int = 200


@dataclass(frozen=True)
class ChatSource:
    """A passage on the way to the model; `left_out` says why it is not sent, "" if it is."""

    number: int
    path: str
    line: int
    page: int | None
    heading: str
    tokens: int
    left_out: str
    page_kind: str = ""


@dataclass(frozen=True)
class PassagesFound:
    """What the library has to say about question `serial`."""

    serial: int
    candidates: "Candidates"


@dataclass(frozen=True)
class PromptPrepared:
    """Exactly what is sent for question `serial`.

    Attributes:
        serial: Number of the question.
        text: The whole prompt.
        tokens: Of the whole prompt.
        answer_tokens: Kept for the answer.
        context_length: Tokens that the model sees.
        sources: The passages, sent or not.
        passage_tokens: Of those that are sent.
        passage_budget: What they might have had.
        doubt: Why they may not hold an answer, in one line; "" if nothing speaks against them.
        grounding: The same for whoever checks the answer; None for a question without documents.
    """

    serial: int
    text: str
    tokens: int
    answer_tokens: int
    context_length: int
    sources: tuple[ChatSource, ...] = ()
    passage_tokens: int = 0
    passage_budget: int = 0
    doubt: str = ""
    grounding: "Grounding | None" = None


@dataclass(frozen=True)
class PromptRefused:
    """Question `serial` cannot be asked; `reason` is one line."""

    serial: int
    reason: str


@dataclass(frozen=True)
class AnswerWritten:
    """More text of the answer to question `serial`."""

    serial: int
    text: str
    progress: WritingProgress


@dataclass(frozen=True)
class AnswerFinished:
    """The answer to question `serial` has ended; `detail` is one line when `reason` is "failed"."""

    serial: int
    reason: FinishReason
    progress: WritingProgress
    detail: str = ""


@dataclass(frozen=True)
class ChatQuote:
    """A quotation in an answer.

    Attributes:
        start: Offset in the answer.
        end: Where it ends there.
        verified: Whether it stands in a document, character for character. The rest means nothing otherwise.
        source: Number of the passage whose document holds it.
        path: The file.
        line: Line it stands at, counted from 1.
        page: Its page; None where the document has none.
        remark: What else there is to know, in one line; "" if nothing.
        page_kind: What such a page is called: "page", "slide" ...
    """

    start: int
    end: int
    verified: bool
    source: int = 0
    path: str = ""
    line: int = 0
    page: int | None = None
    remark: str = ""
    page_kind: str = ""


@dataclass(frozen=True)
class QuotesChecked:
    """What became of every quotation in the answer to question `serial`."""

    serial: int
    quotes: tuple[ChatQuote, ...]
