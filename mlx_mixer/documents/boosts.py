"""Small additions to a fused score for what a place is, beside what it says. Each has a weight, and 0 turns it off.

What each of them is worth was measured; see ``docs/search.md``. Shipped is only what was shown to help.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlx_mixer.documents.fusion import Floats
from mlx_mixer.documents.lexical import Place
from mlx_mixer.documents.query import Query
from mlx_mixer.documents.words import STOP_WORDS
from mlx_mixer.word_cutting import words_of

_ASIDE = re.compile(
    r"(?:^|/)(?:tests?|testing|idlelib/idle_test|vendor|vendored|_vendor|third_party|node_modules|site-packages|dist|"
    r"build|generated|__generated__)/|(?:^|/)(?:test_[^/]*|[^/]*_test\.[a-z]+|[^/]*\.min\.(?:js|css)|[^/]*_pb2\.py)$"
)
_ABOUT_TESTS = re.compile(r"\b(?:tests?|testing|vendor\w*|generated)\b", re.IGNORECASE)
_DEFINITION = (
    r"^[ \t]*(?:(?:export|public|private|static|async|pub|default|abstract|final)[ \t]+)*"
    r"(?:def|class|fn|func|function|struct|enum|trait|interface|type|module|macro_rules!|#[ \t]*define)[ \t]+%s\b"
)


@dataclass(frozen=True)
class BoostWeights:
    """How much each kind of place adds to a fused score, which lies between 0 and 1.

    Attributes:
        definition: A chunk that defines the name the query asks for, where it is a name or one word. For questions of
            several words it was measured to hurt.
        heading: The share of the query's words that the chunk's headings hold.
        same_file: Other chunks of the same file among the best, one for each doubling. Measured to hurt, so not used.
        aside: Taken, as a part of the score, from tests, generated files and copies of other people's code, unless the
            query is about those.
    """

    definition: float = 0.2
    heading: float = 0.1
    same_file: float = 0.0
    aside: float = 0.1

    @property
    def has_any(self) -> bool:
        return self != NO_BOOSTS

    def looks_at_bodies(self, query: Query) -> bool:
        """Whether any of it depends on what the texts say, and not on their headings and files alone."""
        return bool(self.definition) and (query.is_exact or len(query.words) == 1)


NO_BOOSTS = BoostWeights(definition=0.0, heading=0.0, same_file=0.0, aside=0.0)


@dataclass(frozen=True)
class ChunkText:
    """What boosts look at: a chunk's text, its headings and a path of its file."""

    heading: str
    body: str
    path: str


def boosted(
    scores: Floats, places: Sequence[Place], texts: Sequence[ChunkText], query: Query, weights: BoostWeights
) -> Floats:
    """Add to the scores of some candidates, best first, what their kinds are worth.

    Args:
        scores: (N,) fused scores.
        places: Their chunks.
        texts: Their texts.
        query: The query.
        weights: What each kind is worth.

    Returns:
        (N,) new scores.
    """
    result = np.array(scores, dtype=np.float64)
    if weights.looks_at_bodies(query):
        result += weights.definition * definitions(texts, query)
    if weights.heading:
        result += weights.heading * heading_shares(texts, query)
    if weights.same_file:
        per_file = Counter(content for content, _ in places)
        result += weights.same_file * np.log2([per_file[content] for content, _ in places])
    if weights.aside and not _ABOUT_TESTS.search(query.text):
        result *= 1.0 - weights.aside * np.array([bool(_ASIDE.search(text.path)) for text in texts])
    return result


def definitions(texts: Sequence[ChunkText], query: Query) -> Floats:
    """1 for each text that defines one of the query's words as a name, else 0."""
    names = {name for word in query.text.split() for name in re.findall(r"\w+", word)}
    names = {name for name in names if len(name) > 2 and name.lower() not in STOP_WORDS}
    if not names:
        return np.zeros(len(texts))
    pattern = re.compile(_DEFINITION % f"(?:{'|'.join(map(re.escape, sorted(names)))})", re.MULTILINE)
    return np.array([float(pattern.search(text.body) is not None) for text in texts])


def heading_shares(texts: Sequence[ChunkText], query: Query) -> Floats:
    """The share of the query's words in each text's headings, in any case."""
    terms = [term for term in query.words if " " not in term]
    if not terms:
        return np.zeros(len(texts))
    shares = []
    for text in texts:
        held = {word.lower() for word in words_of(text.heading)}
        shares.append(sum(term in held for term in terms) / len(terms))
    return np.array(shares)
