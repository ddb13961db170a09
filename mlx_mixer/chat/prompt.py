"""Turns, passages and a question -> exactly the text and the token ids that a model is given.

A model with a chat template gets messages; one without, a base model, gets a page that goes on: the passages, then
"Question:" and "Answer:". What it is asked stands in the last message, because not every template knows a system's.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from mlx_mixer.chat.writers import Writer
from mlx_mixer.errors import UsageError
from mlx_mixer.grounding.candidates import Candidates
from mlx_mixer.grounding.pack import Grounding, pack

DEFAULT_BUDGET = 2000
"""Tokens of passages where the model sees more: reading them takes time, and more of them seldom helps."""

INSTRUCTION = (
    "Answer the question from the numbered passages below and from nothing else. After what you take from a passage "
    "put its number, like [1]. Quote word for word, in quotation marks. If the passages do not hold the answer, say so."
)
# A base model follows no instruction; a page that looks like an answer with sources is what it can go on with.
QUESTION, ANSWER = "Question:", "Answer:"
STOPS = (f"\n{QUESTION}", f"\n{ANSWER}")


@dataclass(frozen=True)
class Turn:
    """One message of a conversation."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True)
class Prompt:
    """Exactly what is sent.

    Attributes:
        text: All of it, the template's own words included.
        ids: Its token ids.
        grounding: The passages in it; None for a question without documents.
        answer_tokens: Most tokens of the answer; together with `ids` they fit the context.
        turns: Earlier turns that are in it; the oldest are left out first.
        context_length: Tokens that the model sees.
        stops: Texts that end the answer of a base model, which would go on with the next question.
    """

    text: str
    ids: Sequence[int]
    grounding: Grounding | None
    answer_tokens: int
    turns: int
    context_length: int
    stops: tuple[str, ...]


def prepare(
    writer: Writer,
    question: str,
    *,
    turns: Sequence[Turn] = (),
    candidates: Candidates | None = None,
    max_tokens: int = 200,
    budget: int | None = None,
    without: Collection[int] = (),
) -> Prompt:
    """Put a prompt together that leaves room for its answer.

    Args:
        writer: The model it is for.
        question: What is asked now.
        turns: What was said before, oldest first, user and assistant in turn; they get at most a quarter of the room.
        candidates: Passages for the question; None asks without documents.
        max_tokens: Longest answer wanted; a quarter of the context is kept for it at most.
        budget: Most tokens of passages; the default is `DEFAULT_BUDGET`, or what the context has room for.
        without: Numbers of passages not to send.

    Raises:
        UsageError: If the question alone is longer than the model can see.
    """
    answer = max(1, min(max_tokens, writer.context_length // 4))
    room = writer.context_length - answer
    draft = _Draft(writer, question, grounded=candidates is not None)
    kept = _fitting_turns(draft, turns, room)
    rest = room - len(writer.encode(draft.text(kept, "")))
    if rest < 0:
        raise UsageError(
            f"the question takes {room - rest} tokens and this model sees {writer.context_length}, of which {answer} "
            "are for the answer; ask in fewer words"
        )
    if candidates is None:
        return draft.prompt(kept, None, answer)
    limit = min(rest, DEFAULT_BUDGET if budget is None else budget)
    while True:
        grounding = pack(candidates, draft.count, max(0, limit), without=without)
        prompt = draft.prompt(kept, grounding, answer)
        # Around a seam a text may take a token more than its parts.
        excess = len(prompt.ids) - room
        if excess <= 0 or not grounding.tokens:
            return prompt
        limit = grounding.tokens - excess


class _Draft:
    """One question on its way to a prompt."""

    def __init__(self, writer: Writer, question: str, *, grounded: bool) -> None:
        self._writer = writer
        self._grounded = grounded
        self._special = sorted(_special_tokens(writer), key=len, reverse=True)
        self._question = self._plain(question.strip())
        self._has_template = bool(writer.tokenizer.has_chat_template)

    def count(self, text: str) -> int:
        return len(self._writer.tokenizer.encode(self._plain(text), add_special_tokens=False))

    def text(self, turns: Sequence[Turn], passages: str) -> str:
        passages = self._plain(passages)
        return self._messages(turns, passages) if self._has_template else self._page(turns, passages)

    def prompt(self, turns: Sequence[Turn], grounding: Grounding | None, answer: int) -> Prompt:
        text = self.text(turns, grounding.text if grounding else "")
        stops = () if self._has_template else STOPS
        ids = self._writer.encode(text)
        return Prompt(text, ids, grounding, answer, len(turns), self._writer.context_length, stops)

    def _messages(self, turns: Sequence[Turn], passages: str) -> str:
        last = self._question
        if self._grounded:
            last = f"{INSTRUCTION}\n\n{passages or 'There are no passages.'}\n\n{QUESTION} {last}"
        messages = [{"role": turn.role, "content": self._plain(turn.text)} for turn in turns]
        text: str = self._writer.tokenizer.apply_chat_template(
            [*messages, {"role": "user", "content": last}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
        )
        return text

    def _page(self, turns: Sequence[Turn], passages: str) -> str:
        lines = [
            f"{QUESTION if turn.role == 'user' else ANSWER} {self._plain(turn.text)}"
            + ("\n" if turn.role == "assistant" else "")
            for turn in turns
        ]
        page = "\n".join([*lines, f"{QUESTION} {self._question}", ANSWER])
        return f"{passages}\n\n{page}" if passages else page

    def _plain(self, text: str) -> str:
        """Break what the tokenizer would read as a token of its own: a document must not end its message."""
        for token in self._special:
            if token in text:
                text = text.replace(token, f"{token[0]} {token[1:]}")
        return text


def _special_tokens(writer: Writer) -> set[str]:
    tokenizer = writer.tokenizer
    names = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    return {name for name in names if len(name) > 1 and not name.isspace()}


def _fitting_turns(draft: _Draft, turns: Sequence[Turn], room: int) -> list[Turn]:
    """The newest turns that fit a quarter of the room, beginning with a question."""
    kept = list(turns)
    while kept and sum(draft.count(turn.text) for turn in kept) > room // 4:
        kept = kept[2:]
    return kept
