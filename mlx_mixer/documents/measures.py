"""How well a way of ranking finds known items: means over items with their 95 % intervals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 4000
_DEPTH = 10
_HIT = 5
# Not found among the candidates.
NOWHERE = 10**6

Ranks = NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """A mean over items with its 95 % interval, by bootstrap."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Quality:
    """How well a way of ranking finds known items.

    Attributes:
        mrr: Mean of 1 / rank, 0 beyond the first ten.
        hit: Share of items among the first five.
        ndcg: Mean of 1 / log2(1 + rank), 0 beyond the first ten.
    """

    mrr: Interval
    hit: Interval
    ndcg: Interval


def quality(ranks: Ranks) -> Quality:
    """Summarise ranks."""
    return Quality(bootstrap(reciprocal_ranks(ranks)), bootstrap(hits(ranks)), bootstrap(discounted_gains(ranks)))


def bootstrap(values: NDArray[np.float64]) -> Interval:
    """The mean of some values and the interval that holds 95 % of the means of resamples (the same ones every time)."""
    if not len(values):
        return Interval(0.0, 0.0, 0.0)
    rng = np.random.default_rng(1)
    means = values[rng.integers(0, len(values), (_RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


def reciprocal_ranks(ranks: Ranks) -> NDArray[np.float64]:
    return np.where(ranks <= _DEPTH, 1.0 / ranks, 0.0)


def hits(ranks: Ranks) -> NDArray[np.float64]:
    return (ranks <= _HIT).astype(np.float64)


def discounted_gains(ranks: Ranks) -> NDArray[np.float64]:
    return np.where(ranks <= _DEPTH, 1.0 / np.log2(1.0 + ranks), 0.0)
