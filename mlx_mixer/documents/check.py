"""Does meaning help in this library? Known items of its own documents say so, and the weight follows.

The items are looked for in a copy in memory, of the documents they are in and of as many others as make no long wait,
with the giveaways taken out and what changed embedded again. Ranking is the one that searches use.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlx_mixer.documents.candidates import Candidates, Neighbourhood, gather
from mlx_mixer.documents.cleaned_copy import cleaned_copy
from mlx_mixer.documents.close_up import CloseUp
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.events import Progress
from mlx_mixer.documents.frequency import TermCounts
from mlx_mixer.documents.fusion import FusionWeights, fuse
from mlx_mixer.documents.known_items import KINDS, IsLearned, KnownItem, find_items
from mlx_mixer.documents.measures import (
    NOWHERE,
    Quality,
    Ranks,
    bootstrap,
    discounted_gains,
    hits,
    quality,
    reciprocal_ranks,
)
from mlx_mixer.documents.query import parse_query
from mlx_mixer.documents.vectors import Meaning
from mlx_mixer.errors import LibraryError

MOST_ITEMS = 400
LEAST_ITEMS = 60
SCALES = (0.5, 1.0, 1.5, 2.0)

System = Literal["words", "meaning"]
CheckProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class CheckReport:
    """What a check measured, and what follows.

    Attributes:
        items: How many known items there were, by kind.
        chunks: Among how many passages they were looked for.
        words: BM25 and file names alone.
        meaning: Cosines alone.
        fused: Both, with the shipped weights.
        gain: Of fused over words, item by item: each scale is chosen on one half and measured on the other.
        scale: Times the shipped weights of meaning; 0 where the gain's interval does not lie above 0.
        seconds: How long it took.
    """

    items: dict[str, int]
    chunks: int
    words: Quality
    meaning: Quality
    fused: Quality
    gain: Quality
    scale: float
    seconds: float


def check_library(
    db: Database,
    meaning: Meaning,
    *,
    most: int = MOST_ITEMS,
    is_learned: IsLearned | None = None,
    progress: CheckProgress,
    is_cancelled: Callable[[], bool],
) -> CheckReport:
    """Measure whether meaning helps to find known items.

    Args:
        db: The library.
        meaning: Its embedder and vectors.
        most: How many items at most.
        is_learned: Says which documents the embedder has learned from; nothing is asked about those.
        progress: Called with the number of items done and of all.
        is_cancelled: Asked between items; True ends with an error.

    Raises:
        LibraryError: If there are too few items, or the caller stopped it.
    """
    started = time.perf_counter()
    items = find_items(db, meaning.embedder.fingerprint, most, is_learned=is_learned)
    if len(items) < LEAST_ITEMS:
        where = "" if is_learned is None else " in files that the model has not learned from"
        raise LibraryError(
            f"only {len(items)} headings and docstrings to ask for{where}, and a check needs {LEAST_ITEMS}; "
            "add more documents with headings of two words or more, or Python code with docstrings, and embed them"
        )
    copy = cleaned_copy(db, items, fingerprint=meaning.embedder.fingerprint, only_embedded=True)
    try:
        embedded = copy.meaning(meaning.embedder, progress=_no_progress, is_cancelled=is_cancelled)
        ranks = all_ranks(copy.db, copy.items, embedded, progress=progress, is_cancelled=is_cancelled)
    finally:
        copy.close()
    scale, gain = choose_scale(ranks)
    return CheckReport(
        items={kind: sum(item.kind == kind for item in items) for kind in KINDS},
        chunks=copy.chunks,
        words=quality(ranks["words"]),
        meaning=quality(ranks["meaning"]),
        fused=quality(ranks[1.0]),
        gain=gain,
        scale=scale,
        seconds=time.perf_counter() - started,
    )


def ranks_of(item: KnownItem, found: Candidates, *, is_exact: bool) -> dict[System | float, int]:
    """The rank of an item's best answer by words, by meaning, and fused at each scale; counted from 1."""
    right = np.array([content == item.content and seq in item.answers for content, seq in found.places], dtype=bool)
    weights = FusionWeights()
    cosines = found.cosines if found.cosines is not None else np.full(len(right), np.nan)
    ranks: dict[System | float, int] = {
        "words": _rank(fuse(found.bm25, None, found.names, meaning=0.0, name=weights.name), right),
        "meaning": _rank(np.nan_to_num(cosines, nan=-1.0), right),
    }
    for scale in SCALES:
        scaled = weights.scaled(scale)
        weight = scaled.for_query(is_exact=is_exact, coverage=found.coverage)
        ranks[scale] = _rank(fuse(found.bm25, found.cosines, found.names, meaning=weight, name=weights.name), right)
    return ranks


def choose_scale(ranks: dict[System | float, Ranks]) -> tuple[float, Quality]:
    """Choose the weight of meaning, and measure what it gains over words on items that did not choose it.

    Each half of the items chooses the scale with the best mean reciprocal rank; its gain is measured on the other half.
    The scale that is best on all of them is taken if the gain's interval lies above 0, and 0 otherwise.
    """
    count = len(ranks["words"])
    half = np.arange(count) % 2 == 0
    held_out = np.array(ranks["words"])
    for choosing, measured in ((half, ~half), (~half, half)):
        held_out[measured] = ranks[_best_scale(ranks, choosing)][measured]
    gain = Quality(
        *(
            bootstrap(measure(held_out) - measure(ranks["words"]))
            for measure in (reciprocal_ranks, hits, discounted_gains)
        )
    )
    return (_best_scale(ranks, np.ones(count, dtype=bool)) if gain.mrr.low > 0 else 0.0), gain


def _best_scale(ranks: dict[System | float, Ranks], items: NDArray[np.bool_]) -> float:
    return max(SCALES, key=lambda scale: reciprocal_ranks(ranks[scale][items]).mean())


def all_ranks(
    copy: Database,
    items: Sequence[KnownItem],
    meaning: Meaning,
    *,
    progress: CheckProgress,
    is_cancelled: Callable[[], bool],
) -> dict[System | float, Ranks]:
    """Look for every item: its rank by words, by meaning, and fused at each scale.

    Raises:
        LibraryError: If the caller stopped it.
    """
    counts = TermCounts()
    rows: list[dict[System | float, int]] = []
    for item in items:
        if is_cancelled():
            raise LibraryError("the check was stopped; nothing was changed")
        query = parse_query(item.query.replace('"', " "))
        with CloseUp(copy) as close_up:
            found = gather(copy, query, Neighbourhood(copy, query, meaning), counts=counts, close_up=close_up)
        rows.append(ranks_of(item, found, is_exact=query.is_exact))
        progress(len(rows), len(items))
    return {system: np.array([row[system] for row in rows]) for system in rows[0]}


def _rank(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> int:
    """Of the best right candidate, in the order that a search would show."""
    order = np.argsort(-scores, kind="stable")
    found = np.flatnonzero(right[order] & (scores[order] > 0))
    return int(found[0]) + 1 if len(found) else NOWHERE


def _no_progress(_: Progress) -> None:
    pass
