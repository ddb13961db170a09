r"""Whether a hit is any good, in words: from how far its cosine stands out, and how much of the query it holds.

A score that is always high at the top says nothing. Two measures do, for they have a scale of their own: the cosine's
distance from the corpus at large, in standard deviations above what the nearest of so many unrelated passages would
have by chance, :math:`z = (\cos - \mu) / \sigma - \sqrt{2 \ln N}`, and the share of the query's idf that the hit
holds. Their weights were fitted by logistic regression; ``docs/search.md`` has the data and the error rates.
"""

import math
from dataclasses import dataclass
from typing import Literal

from mlx_mixer.documents.vectors import Null

Match = Literal["strong", "weak", "none"]


@dataclass(frozen=True)
class Calibration:
    """A line over the two measures, and two points on it.

    Attributes:
        share: Weight of the share of idf.
        distance: Weight of the distance, per standard deviation.
        offset: Added to both.
        strong: From here on a hit is called strong.
        weak: From here on weak; below, it is none.
        strong_share: Without meaning: the share of idf from which on a hit is strong.
        weak_share: Without meaning: from which on it is weak.
    """

    share: float = 7.4
    distance: float = 1.5
    offset: float = -3.3
    strong: float = 1.0
    weak: float = 0.0
    strong_share: float = 0.45
    weak_share: float = 0.35

    def judge(self, share: float, distance: float | None) -> Match:
        """Name how good a hit is.

        Args:
            share: Share (0 to 1) of the query's idf that the hit holds.
            distance: What `distance_from_chance` says, or None where the hit has no cosine.
        """
        if distance is None:
            evidence, strong, weak = share, self.strong_share, self.weak_share
        else:
            evidence = self.share * share + self.distance * distance + self.offset
            strong, weak = self.strong, self.weak
        return "strong" if evidence >= strong else "weak" if evidence >= weak else "none"


def distance_from_chance(cosine: float, null: Null, passages: int) -> float:
    r"""How far a cosine lies above the highest one that `passages` unrelated passages are expected to have.

    In standard deviations of the null. The largest of N draws from a normal distribution is near
    :math:`\sqrt{2 \ln N}`.
    """
    if null.deviation <= 0.0:
        return 0.0
    return (cosine - null.mean) / null.deviation - math.sqrt(2.0 * math.log(max(passages, 2)))


def best_of(matches: list[Match]) -> Match:
    """The best of several words; none for no hits."""
    return min(matches, key=("strong", "weak", "none").index, default="none")
