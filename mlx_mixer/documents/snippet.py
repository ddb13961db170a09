"""The part of a chunk that is shown for a hit, and where in it the words are, and what is near them in meaning."""

import re
from bisect import bisect_right
from typing import NamedTuple

from mlx_mixer.documents.close_up import Spans

SNIPPET_CHARACTERS = 240
# Of the shown text, the part that comes before the first match.
_LEAD = 60
_ELLIPSIS = "…"
_SPACE = re.compile(r"\s+")


class Snippet(NamedTuple):
    """`text` on one line; `marks` are character spans in it; `start` is where in the body the first match lies.

    `meaning_marks` are the spans of what is near in meaning.
    """

    text: str
    marks: Spans
    start: int
    meaning_marks: Spans = ()


def make_snippet(body: str, spans: Spans, near: Spans = (), *, width: int = SNIPPET_CHARACTERS) -> Snippet:
    """Choose the stretch of `body` with the most different matching words, white space folded.

    Args:
        body: Text of the chunk.
        spans: What matches in it, in order.
        near: What is near in meaning, in order; it chooses the stretch only where nothing matches.
        width: Longest snippet, in characters, ellipses not counted.
    """
    deciding = spans or near
    first = _best_window(body, deciding, width)
    content_start = len(body) - len(body.lstrip())
    start = max(content_start, _word_start(body, first - _LEAD)) if deciding else content_start
    end = min(len(body.rstrip()), start + width)
    if end < len(body.rstrip()):
        end = _word_end(body, end, start)
    text, marks = _fold(body, start, end, spans)
    meaning_marks = _fold(body, start, end, near)[1] if near else ()
    lead = _ELLIPSIS if start > content_start else ""
    tail = _ELLIPSIS if end < len(body.rstrip()) else ""
    return Snippet(
        lead + text + tail,
        _shifted(marks, len(lead)),
        first if deciding else content_start,
        _shifted(meaning_marks, len(lead)),
    )


def _shifted(spans: Spans, by: int) -> Spans:
    return tuple((start + by, end + by) for start, end in spans)


def _best_window(body: str, spans: Spans, width: int) -> int:
    """Start of the match from which a window holds the most different words; the earliest of equals."""
    words = [body[start:end].lower() for start, end in spans]
    ends = [end for _, end in spans]
    best, best_count = spans[0][0] if spans else 0, 0
    for i, (start, _) in enumerate(spans):
        inside = len(set(words[i : bisect_right(ends, start + width - _LEAD)]))
        if inside > best_count:
            best, best_count = start, inside
    return best


def _word_start(body: str, position: int) -> int:
    """The start of the first whole word at or after a position."""
    if position <= 0:
        return 0
    space = next((i for i in range(position, min(position + _LEAD, len(body))) if body[i].isspace()), None)
    return position if space is None else space + 1


def _word_end(body: str, end: int, start: int) -> int:
    """The end of the last whole word before a position, unless that leaves too little."""
    for position in range(end, max(start + 1, end - _LEAD), -1):
        if body[position].isspace():
            return position
    return end


def _fold(body: str, start: int, end: int, spans: Spans) -> tuple[str, Spans]:
    """Fold runs of white space in ``body[start:end]`` into one space, and move the spans along."""
    runs = [match.span() for match in _SPACE.finditer(body, start, end)]
    ends = [run_end for _, run_end in runs]
    lost = [0]  # by how much what follows so many runs has moved to the left
    for run_start, run_end in runs:
        kept = 0 if run_start == start else 1
        lost.append(lost[-1] + run_end - run_start - kept)

    def moved(position: int) -> int:
        passed = bisect_right(ends, position)
        inside = passed < len(runs) and runs[passed][0] < position
        return (runs[passed][0] + (runs[passed][0] > start) if inside else position) - start - lost[passed]

    text = _SPACE.sub(" ", body[start:end]).strip()
    marks = [(moved(max(a, start)), moved(min(b, end))) for a, b in spans if a < end and b > start]
    return text, tuple((a, min(b, len(text))) for a, b in marks if a < min(b, len(text)))
