"""Fit passages into the tokens there are for them."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from mlx_mixer.documents.structure import PageKind
from mlx_mixer.grounding.candidates import Candidate, Candidates
from mlx_mixer.grounding.sentences import fit_sentences, strip_span
from mlx_mixer.safe_text import safe_line

CountTokens = Callable[[str], int]

MIN_TOKENS = 24
"""Fewer than these are not worth a source: its first line alone takes a dozen."""

SEPARATOR = "\n\n"
NO_ROOM = "no room for it"

_SHINGLE = 3
_ALIKE = 0.75
_WORD = re.compile(r"\w+")
_HEADING_CHARACTERS = 60


@dataclass(frozen=True)
class Source:
    """A passage as it is sent.

    Attributes:
        number: What the answer calls it, counted from 1.
        path: The file.
        line: Line of the first character of `text`, counted from 1.
        page: Page it is on; None where the document has none.
        heading: Headings it lies under.
        text: What is sent of it, character for character as stored.
        tokens: Of the whole block, its first line included; 0 if it is not sent.
        content: Id of the stored document.
        start: Offset in characters of `text` in the stored document.
        left_out: Why it is not sent; "" if it is.
        page_kind: What such a page is called; empty where it has none.
    """

    number: int
    path: str
    line: int
    page: int | None
    heading: str
    text: str
    tokens: int
    content: int
    start: int
    left_out: str = ""
    page_kind: PageKind = ""

    @property
    def is_sent(self) -> bool:
        return not self.left_out


@dataclass(frozen=True)
class Grounding:
    """Exactly what a model is shown of the user's documents for a question.

    Attributes:
        question: As it was asked.
        sources: Every passage that was looked at, in the order of its number.
        text: All passages that are sent, as one text: `passage_text` of them.
        tokens: Of `text`; never more than `budget`.
        budget: Tokens that `text` might have had.
        doubt: Why the passages may not hold an answer, in one line; "" if nothing speaks against them.
    """

    question: str
    sources: tuple[Source, ...]
    text: str
    tokens: int
    budget: int
    doubt: str

    @property
    def sent(self) -> tuple[Source, ...]:
        return tuple(source for source in self.sources if source.is_sent)


def pack(candidates: Candidates, count: CountTokens, budget: int, *, without: Collection[int] = ()) -> Grounding:
    """Choose what is sent: every passage that was found first, then what stands around the best of them.

    Passages keep their numbers whatever is left out, so that a number means one thing as long as a question does.

    Args:
        candidates: From `gather`.
        count: Counts the tokens of a text as the model does.
        budget: Most tokens of the passages together.
        without: Numbers of sources that the user does not want to send.
    """
    sources = [_whole(number, candidate) for number, candidate in enumerate(candidates.found, 1)]
    _leave_out_unwanted(sources, without)
    between = count(SEPARATOR)
    for only_core in (True, False):
        for index, candidate in enumerate(candidates.found):
            source = sources[index]
            if source.left_out:
                continue
            room = budget - sum(other.tokens + between for other in sources if other.tokens and other is not source)
            sources[index] = _fitted(source, candidate, count, room, only_core=only_core)
    sent = [source for source in sources if source.tokens]
    # Texts side by side seldom take more tokens than apart; a promise must hold all the same.
    while sent and count(passage_text(sent)) > budget:
        sources[sent[-1].number - 1] = replace(sent[-1], tokens=0, left_out=NO_ROOM)
        sent.pop()
    text = passage_text(sent)
    return Grounding(candidates.question, tuple(sources), text, count(text) if sent else 0, budget, candidates.doubt)


def passage_text(sources: Sequence[Source]) -> str:
    """The passages as the model sees them: each below a line with its number, file and headings."""
    return SEPARATOR.join(block(source) for source in sources)


def block(source: Source) -> str:
    """One passage as the model sees it."""
    name = safe_line(PurePath(source.path).name)
    heading = safe_line(source.heading)[:_HEADING_CHARACTERS].strip()
    title = f"[{source.number}] {name}" + (f": {heading}" if heading else "")
    return f"{title}\n{source.text}"


def _whole(number: int, candidate: Candidate) -> Source:
    """A source with the text that was found, not counted yet."""
    passage = candidate.passage
    source = Source(number, passage.path, 1, passage.page, passage.heading, "", 0, 0, 0, page_kind=passage.page_kind)
    return _cut(source, candidate, strip_span(passage.text, passage.core))


def _cut(source: Source, candidate: Candidate, span: tuple[int, int]) -> Source:
    passage = candidate.passage
    return replace(
        source,
        text=passage.text[span[0] : span[1]],
        line=passage.line + passage.text.count("\n", 0, span[0]),
        content=passage.content,
        start=passage.start + span[0],
    )


def _leave_out_unwanted(sources: list[Source], without: Collection[int]) -> None:
    kept: list[tuple[int, set[str]]] = []
    for index, source in enumerate(sources):
        shingles = _shingles(source.text)
        twin = next((number for number, other in kept if _share(shingles, other) >= _ALIKE), None)
        if source.number in without:
            sources[index] = replace(source, left_out="switched off")
        elif twin is not None:
            sources[index] = replace(source, left_out=f"nearly the same as [{twin}]")
        else:
            kept.append((source.number, shingles))


def _fitted(source: Source, candidate: Candidate, count: CountTokens, room: int, *, only_core: bool) -> Source:
    """Give a source as many whole sentences as `room` tokens hold, or leave it out."""
    passage = candidate.passage
    begin, end = passage.core if only_core else (0, len(passage.text))
    window = passage.text[begin:end]
    core = (passage.core[0] - begin, passage.core[1] - begin)
    span = fit_sentences(
        window, core, candidate.focus - begin, lambda text: count(block(replace(source, text=text))) <= room
    )
    if span is not None:
        cut = _cut(source, candidate, (span[0] + begin, span[1] + begin))
        tokens = count(block(cut))
        if source.tokens:
            return replace(cut, tokens=tokens) if len(cut.text) >= len(source.text) else source
        if cut.text and (tokens >= MIN_TOKENS or span == strip_span(window, core)):
            return replace(cut, tokens=tokens)
    return source if source.tokens else replace(source, left_out=NO_ROOM)


def _shingles(text: str) -> set[str]:
    words = [word.lower() for word in _WORD.findall(text)]
    return {" ".join(words[at : at + _SHINGLE]) for at in range(max(1, len(words) - _SHINGLE + 1))} if words else set()


def _share(first: set[str], second: set[str]) -> float:
    """Share of the smaller set that is in the other."""
    return len(first & second) / min(len(first), len(second)) if first and second else 0.0
