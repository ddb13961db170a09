"""Which words of a passage lie near a query in meaning, by the exact split of their cosine over the tokens."""

import re
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from mlx_mixer.documents.close_up import Spans
from mlx_mixer.documents.vectors import Floats
from mlx_mixer.documents.words import STOP_WORDS

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
MOST_WORDS = 5
# A word is marked where it adds this many times what a word of the passage adds on average, and this part of what the
# best does that is not marked already.
_TIMES_MEAN = 2.0
_PART_OF_BEST = 0.4


class Share(Protocol):
    """A token's place in a text, and what it adds to the cosine."""

    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...

    @property
    def share(self) -> float: ...


@runtime_checkable
class Explaining(Protocol):
    """An embedder that can say which tokens make a text similar to a query (`mlx_mixer.embedding.Embedder`)."""

    def attribute(self, text: str, query: Floats) -> Sequence[Share]: ...


def meaning_spans(embedder: Explaining, body: str, query: Floats, words: Spans) -> Spans:
    """Return the spans of the words that say most of what the query means, in order.

    Args:
        embedder: What made the query's vector.
        body: The passage.
        query: (D,) vector of the query.
        words: Spans that are marked already, because they match literally; left out here.
    """
    shares = embedder.attribute(body, query)
    found = [(match.start(), match.end()) for match in _WORD.finditer(body)]
    if not shares or not found:
        return ()
    values = _per_word(shares, found)
    positive = np.maximum(values, 0.0)
    is_new = np.array([not any(a < end and start < b for a, b in words) for start, end in found])
    threshold = max(_TIMES_MEAN * float(positive.mean()), _PART_OF_BEST * float((positive * is_new).max()))
    order = [i for i in np.argsort(-positive, kind="stable") if is_new[i] and 0 < positive[i] >= threshold]
    best: list[tuple[int, int]] = []
    seen: set[str] = set()
    for i in order:
        start, end = found[i]
        word = body[start:end].lower()
        if len(word) < 2 or word in STOP_WORDS:
            continue
        if word not in seen and len(seen) == MOST_WORDS:
            break
        seen.add(word)
        best.append((start, end))
    return tuple(sorted(best))


def _per_word(shares: Sequence[Share], words: Sequence[tuple[int, int]]) -> Floats:
    """Add the shares of tokens to the words they lie in; a token between words counts nowhere."""
    ends = np.array([end for _, end in words])
    totals = np.zeros(len(words), dtype=np.float32)
    for token in shares:
        word = int(np.searchsorted(ends, token.start, side="right"))
        if word < len(words) and words[word][0] <= token.start < words[word][1]:
            totals[word] += token.share
    return totals
