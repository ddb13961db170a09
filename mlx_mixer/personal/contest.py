"""Two embedders look for the same held-out questions, alone and as searches use them; the better one is meant to stay.

Ranks are those of `mlx_mixer.documents.check`, in a copy from which the questions were taken out. Differences are
paired: question by question, with 95 % bootstrap intervals.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mlx_mixer.documents.check import SCALES, CheckProgress, System, all_ranks
from mlx_mixer.documents.cleaned_copy import CleanedCopy
from mlx_mixer.documents.measures import Interval, Ranks, bootstrap, reciprocal_ranks
from mlx_mixer.documents.vectors import TextEmbedder

RanksBySystem = dict[System | float, Ranks]
# Without meaning.
WORDS_ONLY = 0.0


@dataclass(frozen=True)
class Figures:
    """How well something finds held-out answers, or by how much better than something else.

    Attributes:
        mrr: Mean of 1 / rank, 0 beyond the first ten.
        top1: Share of questions whose answer comes first.
    """

    mrr: Interval
    top1: Interval


@dataclass(frozen=True)
class Outcome:
    """What the test says.

    Attributes:
        questions: How many there were.
        chunks: Among how many passages their answers were looked for.
        words: BM25 and file names alone.
        old_alone: Cosines of the present embedder alone.
        new_alone: Those of the new one.
        old_fused: As searches rank, with the present one at the scale that suits it best.
        new_fused: With the new one at its own best scale.
        gain_alone: Of the new one over the present one, alone.
        gain_fused: The same as searches rank.
        gain_over_words: Of searches with the new one over words alone.
        old_scale: Times the shipped weights of meaning; chosen on other questions, as the next is.
        new_scale: For the new one.
    """

    questions: int
    chunks: int
    words: Figures
    old_alone: Figures
    new_alone: Figures
    old_fused: Figures
    new_fused: Figures
    gain_alone: Figures
    gain_fused: Figures
    gain_over_words: Figures
    old_scale: float
    new_scale: float

    @property
    def is_better(self) -> bool:
        """Whether the new one is to replace the present one.

        Searches find more with it beyond doubt; or it finds more alone beyond doubt, and searches do not find less.
        """
        fused, alone = self.gain_fused.mrr, self.gain_alone.mrr
        return self.new_scale > WORDS_ONLY and (fused.low > 0 or (alone.low > 0 and fused.mean >= 0))


def look_for(
    copy: CleanedCopy,
    embedder: TextEmbedder,
    *,
    embedding: CheckProgress,
    progress: CheckProgress,
    is_cancelled: Callable[[], bool],
) -> RanksBySystem:
    """Embed a copy and look for every item in it.

    Args:
        copy: The copy.
        embedder: Makes the vectors that are not there yet.
        embedding: Told how many passages are embedded, of how many.
        progress: Told how many items were looked for, of how many.
        is_cancelled: Asked now and then; True ends with an error.
    """
    meaning = copy.meaning(
        embedder, progress=lambda step: embedding(step.done, step.total or 0), is_cancelled=is_cancelled
    )
    return all_ranks(copy.db, copy.items, meaning, progress=progress, is_cancelled=is_cancelled)


def best_scale(ranks: RanksBySystem) -> float:
    """The weight of meaning by which most is found; the smallest of equals."""
    return max((WORDS_ONLY, *SCALES), key=lambda scale: (reciprocal_ranks(fused_at(ranks, scale)).mean(), -scale))


def compare(old: RanksBySystem, new: RanksBySystem, *, old_scale: float, new_scale: float, chunks: int) -> Outcome:
    """Compare two embedders by the ranks of the same questions."""
    words, old_fused, new_fused = old["words"], fused_at(old, old_scale), fused_at(new, new_scale)
    return Outcome(
        questions=len(words),
        chunks=chunks,
        words=_figures(words),
        old_alone=_figures(old["meaning"]),
        new_alone=_figures(new["meaning"]),
        old_fused=_figures(old_fused),
        new_fused=_figures(new_fused),
        gain_alone=_gain(old["meaning"], new["meaning"]),
        gain_fused=_gain(old_fused, new_fused),
        gain_over_words=_gain(words, new_fused),
        old_scale=old_scale,
        new_scale=new_scale,
    )


def fused_at(ranks: RanksBySystem, scale: float) -> Ranks:
    """The ranks of a search with this weight of meaning."""
    return ranks["words"] if scale == WORDS_ONLY else ranks[scale]


def score(ranks: RanksBySystem) -> float:
    """One number to choose weights by: the mean reciprocal ranks alone and fused, added up."""
    systems: Sequence[Ranks] = (ranks["meaning"], fused_at(ranks, best_scale(ranks)))
    return float(sum(reciprocal_ranks(system).mean() for system in systems))


def _figures(ranks: Ranks) -> Figures:
    return Figures(bootstrap(reciprocal_ranks(ranks)), bootstrap((ranks == 1).astype(np.float64)))


def _gain(old: Ranks, new: Ranks) -> Figures:
    return Figures(
        bootstrap(reciprocal_ranks(new) - reciprocal_ranks(old)),
        bootstrap((new == 1).astype(np.float64) - (old == 1).astype(np.float64)),
    )
