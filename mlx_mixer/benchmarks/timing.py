"""One measured figure, and how it is taken."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A measured value.

    Attributes:
        value: Median over the rounds.
        unit: Its unit, "x" for a ratio.
        min: Smallest round.
        max: Largest round.
        goal: What we aim at, if anything.
    """

    value: float
    unit: str
    min: float
    max: float
    goal: str | None = None


def summarise(values: Sequence[float], unit: str, goal: str | None = None) -> Figure:
    """Median, smallest and largest of several rounds."""
    return Figure(statistics.median(values), unit, min(values), max(values), goal)


def rates(run: Callable[[], object], amount: float, *, rounds: int = 7, warm_up: int = 2) -> list[float]:
    """How much per second, for each of several rounds.

    Args:
        run: Does the work once, evaluated to the end.
        amount: Work done by one call, in the unit of interest.
        rounds: Timed calls.
        warm_up: Calls before, which compile and fill caches.
    """
    for _ in range(warm_up):
        run()
    measured = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        measured.append(amount / (time.perf_counter() - started))
    return measured
