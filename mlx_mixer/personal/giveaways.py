"""Words of a question that give its answer away: rare ones, and names, that the answer holds as well.

Whoever remembers a name finds it by words. What an embedder has to learn is the rest.
"""

import re
from collections import Counter
from collections.abc import Iterable

from mlx_mixer.documents.known_items import MIN_HEADING_WORDS, is_question
from mlx_mixer.word_cutting import words_of

_RARE_SHARE, _RARE_CHUNKS = 1e-3, 3
_RARE_NAME_SHARE = 2e-2
_NAME = re.compile(r"[_.:/\\()<>=\d]\w|\w[_(/\\]|[a-z][A-Z]|^[A-Z]{2,}$")


class WordCounts:
    """In how many passages each word occurs.

    Args:
        bodies: The passages.
    """

    def __init__(self, bodies: Iterable[str]) -> None:
        self.passages = 0
        self._counts: Counter[str] = Counter()
        for body in bodies:
            self.passages += 1
            self._counts.update(set(words_of(body.lower())))

    def __getitem__(self, word: str) -> int:
        return self._counts[word]


def without_giveaways(query: str, passage: str, counts: WordCounts) -> str | None:
    """Take out of a question the rare words and names that its passage holds.

    Args:
        query: The question.
        passage: What answers it.
        counts: Of all passages.

    Returns:
        The question without them; None where too little is left.
    """
    held = set(words_of(passage.lower()))
    kept = " ".join(word for word in query.split() if not _gives_away(word, held, counts))
    return kept if is_question(kept[:120], MIN_HEADING_WORDS) else None


def _gives_away(word: str, held: set[str], counts: WordCounts) -> bool:
    parts = words_of(word.lower())
    if not parts or not held.intersection(parts):
        return False
    rarest = min(counts[part] for part in parts if part in held)
    limit = _RARE_NAME_SHARE if _NAME.search(word) else _RARE_SHARE
    return rarest <= max(_RARE_CHUNKS, limit * counts.passages)
