"""The quotations in an answer, and which passage each is said to come from."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

QuoteKind = Literal["marks", "code", "block"]

_FENCE = re.compile(r"^(?P<mark>`{3,}|~{3,})[^\n]*\n(?P<text>.*?)(?:^(?P=mark)[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^(?:[ \t]{0,3}>[^\n]*(?:\n|\Z))+", re.MULTILINE)
_BLOCK_MARK = re.compile(r"^[ \t]{0,3}>[ ]?", re.MULTILINE)
_CODE = re.compile(r"(?P<mark>`{1,2})(?!`)(?P<text>[^\n]+?)(?<!`)(?P=mark)(?!`)")
# Each opening mark with the marks that close it: English, German and French ways, straight and typographic. Straight
# single quotes are apostrophes far too often to be read as quotations.
_PAIRS = {'"': '"', "“": "”", "„": "“”", "«": "»", "»": "«", "‘": "’", "‹": "›"}
_OPENING = re.compile(r"""(?<!\w)["“„«»‹]|(?<!\w)‘(?=\w)""")
_LONGEST = 2000
_CITATION = re.compile(r"\[(\d{1,3})(?:\s*[,;]\s*\d{1,3})*\]")
_SENTENCE_END = re.compile(r"[.!?…](?=\s|\Z)|\n[ \t]*\n")


@dataclass(frozen=True)
class Quote:
    """A stretch of an answer that claims to be somebody else's words.

    Attributes:
        start: Offset of `text` in the answer; for a block quotation, of the whole block.
        end: Where it ends.
        text: What is quoted, without its marks.
        kind: How it is set apart.
        cited: Numbers of the passages named beside it.
    """

    start: int
    end: int
    text: str
    kind: QuoteKind
    cited: tuple[int, ...] = ()


def find_quotes(answer: str) -> tuple[Quote, ...]:
    """Find code blocks, block quotations, code spans and what stands between quotation marks, in order."""
    found: list[Quote] = []
    for quote in (*_blocks(answer), *_code_spans(answer), *_marked(answer)):
        is_inside_another = any(quote.start < other.end and other.start < quote.end for other in found)
        if not is_inside_another and any(character.isalnum() for character in quote.text):
            found.append(quote)
    found.sort(key=lambda quote: quote.start)
    return tuple(_with_citation(answer, found, index) for index in range(len(found)))


def citations(answer: str) -> tuple[int, ...]:
    """All passage numbers that an answer names, in order of first mention."""
    return tuple(dict.fromkeys(number for match in _CITATION.finditer(answer) for number in _numbers(match)))


def _blocks(answer: str) -> Iterator[Quote]:
    for match in _FENCE.finditer(answer):
        yield Quote(match.start("text"), match.end("text"), match["text"], "code")
    for match in _BLOCK.finditer(answer):
        text = _BLOCK_MARK.sub("", match.group())
        # A number at the end of a block says where it is from and is no part of it.
        yield Quote(match.start(), match.end(), re.sub(r"\s*(?:\[[\d,; ]+\]\s*)+\Z", "", text), "block")


def _code_spans(answer: str) -> Iterator[Quote]:
    for match in _CODE.finditer(answer):
        yield Quote(match.start("text"), match.end("text"), match["text"], "code")


def _marked(answer: str) -> Iterator[Quote]:
    position = 0
    while (opening := _OPENING.search(answer, position)) is not None:
        end = _closing(answer, opening.end(), _PAIRS[opening.group()])
        if end < 0:
            position = opening.end()
            continue
        yield Quote(opening.end(), end, answer[opening.end() : end], "marks")
        position = end + 1


def _closing(answer: str, start: int, closing: str) -> int:
    """Offset of the mark that closes a quotation, -1 if none does in the same paragraph."""
    for index in range(start, min(len(answer), start + _LONGEST)):
        if answer[index] == "\n" and answer[index + 1 : index + 2] == "\n":
            return -1
        # ’ is an apostrophe as well; it closes where no letter follows.
        if answer[index] in closing and not (answer[index] == "’" and answer[index + 1 : index + 2].isalpha()):
            return index
    return -1


def _with_citation(answer: str, quotes: list[Quote], index: int) -> Quote:
    """Read the numbers beside a quotation: after it in its sentence (in its block), or else before it there."""
    quote = quotes[index]
    following = quotes[index + 1].start if index + 1 < len(quotes) else len(answer)
    previous = quotes[index - 1].end if index else 0
    if quote.kind == "block":
        numbers = _last_numbers(answer, quote.start, quote.end)
    else:
        numbers = _first_numbers(answer, quote.end, _sentence_end(answer, quote.end, following))
    numbers = numbers or _last_numbers(answer, _sentence_start(answer, previous, quote.start), quote.start)
    return Quote(quote.start, quote.end, quote.text, quote.kind, numbers)


def _sentence_end(answer: str, start: int, limit: int) -> int:
    """Where the sentence ends; a number right after its full stop belongs to it."""
    # The mark that closes the quotation, and what is inside it, end nothing.
    match = _SENTENCE_END.search(answer, min(start + 1, limit), limit)
    if match is None:
        return limit
    trailing = _CITATION.match(answer, match.end() + (answer[match.end() : match.end() + 1] == " "), limit)
    return trailing.end() if trailing else match.end()


def _sentence_start(answer: str, low: int, end: int) -> int:
    ends = [match.end() for match in _SENTENCE_END.finditer(answer, low, end)]
    return ends[-1] if ends else low


def _first_numbers(answer: str, start: int, end: int) -> tuple[int, ...]:
    match = _CITATION.search(answer, start, max(start, end))
    return _numbers(match) if match else ()


def _last_numbers(answer: str, start: int, end: int) -> tuple[int, ...]:
    matches = list(_CITATION.finditer(answer, start, max(start, end)))
    return _numbers(matches[-1]) if matches else ()


def _numbers(match: re.Match[str]) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", match.group()))
