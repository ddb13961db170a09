r"""One score from words, meaning and file names.

.. math:: s = (1 - a) \, \mathrm{bm25} / \max \mathrm{bm25} + a \, \mathrm{clip}(\cos', 0, 1) + b \, \mathrm{name}^3

A convex mix of scores, not of ranks: reciprocal rank fusion with equal weights loses to BM25 alone wherever the vectors
are the weaker leg (Bruch et al., arXiv 2210.11934, and our own measurements). :math:`\cos'` is the cosine after the
library's mean vector was taken from both sides, exact for every candidate of either leg.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FusionWeights:
    """How much meaning and names count beside words.

    Attributes:
        meaning: The weight `a` where the best hits hold all of the query's words.
        meaning_uncovered: The weight `a` where they hold none; in between it is interpolated.
        meaning_exact: The weight `a` for quotations and identifiers.
        name: The weight `b` of a file name that holds all of the query's words: the file itself is looked for then.
            Cubed, so that one word of several counts for little.
    """

    meaning: float = 0.4
    meaning_uncovered: float = 0.7
    meaning_exact: float = 0.1
    name: float = 1.1

    @property
    def has_meaning(self) -> bool:
        """Whether meaning can change anything."""
        return max(self.meaning, self.meaning_uncovered, self.meaning_exact) > 0.0

    def scaled(self, scale: float) -> "FusionWeights":
        """The same with all weights of meaning times `scale`, at most 1."""
        return replace(
            self,
            meaning=min(1.0, scale * self.meaning),
            meaning_uncovered=min(1.0, scale * self.meaning_uncovered),
            meaning_exact=min(1.0, scale * self.meaning_exact),
        )

    def for_query(self, *, is_exact: bool, coverage: float) -> float:
        """Return `a` for a query whose best hits hold `coverage` (0 to 1) of its words."""
        if is_exact:
            return self.meaning_exact
        return coverage * self.meaning + (1.0 - coverage) * self.meaning_uncovered


def fuse(bm25: Floats, cosines: Floats | None, names: Floats, *, meaning: float, name: float) -> Floats:
    """Return the score of every candidate.

    Args:
        bm25: (N,) not negative, higher is better; 0 for candidates that hold none of the words.
        cosines: (N,) in [-1, 1]. NaN for a candidate that is not embedded yet: it is taken to be like the others on
            average, so that it neither gains nor loses. None where nothing is embedded; words then carry the score.
        names: (N,) in [0, 1], share of the query's words in the file's name.
        meaning: Weight `a` of the cosine.
        name: Weight `b` of the file name.

    Returns:
        (N,) scores from 0 to ``1 + name``.
    """
    highest = float(bm25.max(initial=0.0))
    words = bm25 / highest if highest > 0 else np.zeros_like(bm25)
    if cosines is None or np.isnan(cosines).all():
        return np.asarray(words + name * names**3)
    near = np.clip(cosines, 0.0, 1.0)
    near = np.where(np.isnan(near), np.nanmean(near), near)
    return np.asarray((1.0 - meaning) * words + meaning * near + name * names**3)
