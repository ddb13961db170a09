"""Where a text may be cut so that whole sentences remain."""

import re
from collections.abc import Callable

Span = tuple[int, int]

# A stretch without an end of sentence that is longer than this is code, a list or a table: its lines are taken.
_LONGEST = 400
# Blank lines end where the next line begins: its indentation is its own.
_END = re.compile(r"[.!?…]+[\"'”’»)\]]*\s+|[。！？]\s*|\n(?:[ \t]*\n)+|\n(?=[ \t]*(?:[-*+#>|]|\d+[.)])[ \t])")
_LINE_END = re.compile(r"\n")


def sentence_spans(text: str) -> list[Span]:
    """Cut a text into sentences, items and lines, none left out: the spans joined are the text."""
    spans: list[Span] = []
    for start, end in _between(_END, text, (0, len(text))):
        spans += _between(_LINE_END, text, (start, end)) if end - start > _LONGEST else [(start, end)]
    return spans


def fit_sentences(text: str, core: Span, focus: int, fits: Callable[[str], bool]) -> Span | None:
    """Choose the longest run of whole sentences around `focus` that fits.

    Args:
        text: A passage.
        core: The part of it that was found; what lies outside comes last.
        focus: Offset that must be inside.
        fits: Whether a text is short enough; a longer one never is where a shorter one is not.

    Returns:
        A span without white space at its ends, or None if not even one sentence fits.
    """
    spans = sentence_spans(text)
    first = next((index for index, (_, end) in enumerate(spans) if focus < end), len(spans) - 1)
    low, high = first, first + 1
    if not spans or not fits(_stripped(text, spans[first])):
        return None
    open_ends = {"after", "before"}
    while open_ends:
        after_in_core = high < len(spans) and spans[high][0] < core[1]
        before_in_core = low > 0 and spans[low - 1][1] > core[0]
        # What follows says more than what came before; the passage that was found says more than its neighbours.
        forward = "after" in open_ends and (after_in_core or not (before_in_core and "before" in open_ends))
        wider = (low, high + 1) if forward else (low - 1, high)
        is_possible = wider[0] >= 0 and wider[1] <= len(spans)
        if is_possible and fits(_stripped(text, (spans[wider[0]][0], spans[wider[1] - 1][1]))):
            low, high = wider
        else:
            open_ends.discard("after" if forward else "before")
    return strip_span(text, (spans[low][0], spans[high - 1][1]))


def strip_span(text: str, span: Span) -> Span:
    """Take white space off both ends of a span; lines of code keep their indentation."""
    start, end = span
    inside = text[start:end]
    lead = len(inside) - len(inside.lstrip())
    # The indentation of the first line stays: without it code would not line up.
    start += inside.rfind("\n", 0, lead) + 1
    return start, max(start, start + len(text[start:end].rstrip()))


def _stripped(text: str, span: Span) -> str:
    start, end = strip_span(text, span)
    return text[start:end]


def _between(pattern: re.Pattern[str], text: str, within: Span) -> list[Span]:
    start, end = within
    cuts = [match.end() for match in pattern.finditer(text, start, end) if match.end() < end]
    return [(a, b) for a, b in zip([start, *cuts], [*cuts, end], strict=True) if b > a]
