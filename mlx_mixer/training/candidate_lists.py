"""Lists of candidates as a search among the passages of pairs would hand them to a re-ranker: best first."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from mlx_mixer.documents.fusion import FusionWeights, fuse
from mlx_mixer.errors import MixerError
from mlx_mixer.training.frozen_pairs import FrozenPairs
from mlx_mixer.training.hard_negatives import Numbers, Vectors
from mlx_mixer.training.word_scores import WordScores

# Passages looked at beyond those that are kept, for those that say the same.
_SPARE = 20
NOT_THERE = -1
# Queries looked at for each that is wanted, for those that find their passage.
_MOST_TRIES = 20


class Candidates(NamedTuple):
    """The best of a search for one query.

    Attributes:
        pairs: ``(K,)`` whose passages they are, best first.
        scores: ``(K,)`` float32: fused of words and cosines, or the cosines alone.
        words: ``(K,)`` float32 BM25; zeros where words take no part.
        place: Where the right one is; `NOT_THERE` if it is not among them.
    """

    pairs: Numbers
    scores: Vectors
    words: Vectors
    place: int


@dataclass(frozen=True)
class CandidateLists:
    """Searches for the queries of pairs among their passages, each made when it is first asked for.

    Attributes:
        pairs: The pairs.
        words: Their BM25; without, the cosine alone decides.
        count: Candidates of a list, K.
    """

    pairs: FrozenPairs
    words: WordScores | None
    count: int
    _found: dict[int, Candidates] = field(default_factory=dict)

    def of(self, pair: int) -> Candidates:
        """The candidates for the hardest query of a pair; no other of them says what the right one says.

        Raises:
            MixerError: If every passage says the same.
        """
        if pair not in self._found:
            self._found[pair] = self._search(int(self.pairs.first_query[pair]), pair)
        return self._found[pair]

    def _search(self, query: int, pair: int) -> Candidates:
        cosines = self.pairs.passages @ self.pairs.queries[query]
        scores, words = cosines, np.zeros_like(cosines)
        if self.words is not None:
            words, coverage = self.words(query)
            weight = FusionWeights().for_query(is_exact=False, coverage=coverage)
            exact = words.astype(np.float64), cosines.astype(np.float64)
            scores = fuse(*exact, np.zeros(len(words)), meaning=weight, name=0.0).astype(np.float32)
        most = min(self.count + _SPARE, len(scores))
        best = np.argpartition(-scores, most - 1)[:most]
        best = best[np.argsort(-scores[best], kind="stable")]
        if (wrong := self.pairs.same.without(pair, best, self.count)) == []:
            raise MixerError("there is no passage that says something else; a re-ranker needs more pairs than these")
        # Of a handful of pairs the same ones stand there more than once.
        if pair not in best or (len(wrong) == self.count and scores[pair] < scores[wrong[-1]]):
            chosen = np.resize(wrong, self.count)
        else:
            chosen = np.array([pair, *np.resize(wrong, self.count - 1)])
        chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
        place = int((chosen == pair).argmax()) if pair in chosen else NOT_THERE
        return Candidates(chosen, scores[chosen], words[chosen].astype(np.float32), place)


class Lists(NamedTuple):
    """What a re-ranker sees of some lists: ``(B, K + 1, D)`` the query first, ``(B, K)`` scores, ``(B,)`` places."""

    embeddings: Vectors
    scores: Vectors
    places: Numbers


def lists_of(pairs: FrozenPairs, queries: Numbers, found: list[Candidates]) -> Lists:
    """Put the vectors of some lists together.

    Args:
        pairs: The vectors.
        queries: ``(B,)`` numbers among all queries.
        found: B lists of one length.
    """
    candidates = np.stack([each.pairs for each in found])
    rows = np.concatenate([pairs.queries[queries][:, None], pairs.passages[candidates]], axis=1)
    return Lists(rows, np.stack([each.scores for each in found]), np.array([each.place for each in found]))


def draw_lists(lists: CandidateLists, count: int, size: int, rng: np.random.Generator) -> Lists:
    """Draw lists to learn from: of searches that found the right passage.

    Args:
        lists: All of them.
        count: How many, B; fewer where fewer queries find their passage.
        size: Candidates of each. Where that is less than there are, some wrong ones are left out at random, as where a
            search has few hits.
        rng: Decides.

    Raises:
        MixerError: If no query finds its passage.
    """
    queries, found = [], []
    for pair in rng.permutation(len(lists.pairs))[: _MOST_TRIES * count].tolist():
        candidates = lists.of(pair)
        if candidates.place != NOT_THERE:
            queries.append(int(lists.pairs.first_query[pair]))
            found.append(_thinned(candidates, size, rng))
            if len(found) == count:
                break
    if not found:
        raise MixerError(
            f"none of {_MOST_TRIES * count} queries finds its passage among the best {lists.count}; "
            "a re-ranker cannot learn from that"
        )
    return lists_of(lists.pairs, np.array(queries), found)


def _thinned(candidates: Candidates, size: int, rng: np.random.Generator) -> Candidates:
    wrong = np.delete(np.arange(len(candidates.pairs)), candidates.place)
    kept = np.sort([candidates.place, *rng.permutation(wrong)[: size - 1]])
    place = int(np.flatnonzero(kept == candidates.place)[0])
    return Candidates(candidates.pairs[kept], candidates.scores[kept], candidates.words[kept], place)
