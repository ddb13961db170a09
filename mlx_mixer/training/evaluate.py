"""How well a model writes and finds: perplexity, bits per byte, and top-1 accuracy among n passages."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from mlx_mixer.errors import MixerError, UsageError
from mlx_mixer.models.language import IGNORED_LABEL, LanguageMixer
from mlx_mixer.training.language import language_loss
from mlx_mixer.training.unit_rows import unit_rows
from mlx_mixer.training.windows import Windows, batch_order, gather

# Rows are query numbers, columns passage numbers, both within a trial; higher is closer.
Scorer = Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class LanguageScore:
    """How well a model predicts text.

    Attributes:
        perplexity: Exponential of the mean loss per token.
        bits_per_byte: Loss per byte of UTF-8 text, which does not depend on the tokenizer.
        tokens: Predicted tokens; a text's first is given, its end is predicted.
    """

    perplexity: float
    bits_per_byte: float
    tokens: int


@dataclass(frozen=True)
class Top1:
    """Share of queries whose passage scores highest.

    Attributes:
        candidates: Passages each query chose from.
        accuracy: From 0 to 1.
        queries: Queries scored.
    """

    candidates: int
    accuracy: float
    queries: int

    @property
    def half_width(self) -> float:
        """Half the 95 % interval of the accuracy (normal approximation)."""
        return 1.96 * math.sqrt(self.accuracy * (1 - self.accuracy) / self.queries)


def language_score(
    model: LanguageMixer, windows: Windows, num_bytes: int, tokens_per_batch: int = 8192
) -> LanguageScore:
    """Score a model on windows of text.

    Args:
        model: The model.
        windows: Texts cut as for training.
        num_bytes: Bytes of UTF-8 in the texts.
        tokens_per_batch: Positions of a forward pass.
    """
    loss, tokens = 0.0, 0
    for rows in batch_order(windows, tokens_per_batch, seed=0):
        ids, labels = gather(windows, rows)
        counted = int((labels[:, 1:] != IGNORED_LABEL).sum())
        mean = language_loss(model, mx.array(ids), mx.array(labels)).item()
        assert isinstance(mean, float)
        loss += mean * counted
        tokens += counted
    if not tokens:
        raise MixerError("there is no token to predict; give longer texts")
    return LanguageScore(math.exp(loss / tokens), loss / math.log(2) / num_bytes, tokens)


def top1_among(candidates: int, has_query: npt.NDArray[np.bool_], scorer: Scorer, *, queries: int, seed: int) -> Top1:
    """Top-1 accuracy among n candidates, over the trials of `draw_trials`.

    Args:
        candidates: Passages of a trial, n.
        has_query: ``(N,)``, whether a record has a query.
        scorer: Scores of some queries, by record number, against some passages.
        queries: Stop after the trial in which this many are reached.
        seed: Decides the trials: the same for every scorer, so that figures compare pair by pair.

    Raises:
        MixerError: If there are fewer records than candidates, or no record has a query.
    """
    right = scored = 0
    for drawn, asking in draw_trials(candidates, has_query, queries=queries, seed=seed):
        best = scorer(drawn[asking], drawn).argmax(axis=1)
        right += int((best == asking).sum())
        scored += len(asking)
    return Top1(candidates, right / scored, scored)


def draw_trials(
    candidates: int, has_query: npt.NDArray[np.bool_], *, queries: int, seed: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Trials of n records, drawn without replacement, until they hold enough queries together.

    Records without a query serve as wrong answers.

    Args:
        candidates: Records of a trial, n.
        has_query: ``(N,)``, whether a record has a query.
        queries: Stop after the trial in which this many are reached.
        seed: Decides the trials.

    Yields:
        ``(n,)`` numbers of the records drawn, and at which places among them stand those with a query: one at least.

    Raises:
        MixerError: If there are fewer records than candidates, or no record has a query.
    """
    if candidates > len(has_query):
        raise MixerError(f"{candidates} candidates were asked for, but there are {len(has_query)} passages")
    if not has_query.any():
        raise MixerError("no record has a query")
    rng = np.random.default_rng((seed, candidates))
    scored = 0
    while scored < queries:
        drawn = rng.choice(len(has_query), candidates, replace=False)
        asking = np.flatnonzero(has_query[drawn])
        if len(asking):
            yield drawn, asking
            scored += len(asking)


def vector_scorer(queries: npt.NDArray[np.float32], passages: npt.NDArray[np.float32]) -> Scorer:
    """Cosines, given unit vectors ``(N, D)`` of every record's query and passage."""
    return lambda asked, drawn: queries[asked] @ passages[drawn].T


def shortened(vectors: npt.NDArray[np.float32], dims: int | None) -> npt.NDArray[np.float32]:
    """The first `dims` values of vectors ``(N, D)``, brought to length 1; the vectors as they are if it is unset.

    Raises:
        UsageError: If they have fewer values.
    """
    if dims is None:
        return vectors
    if not 1 <= dims <= vectors.shape[1]:
        raise UsageError(f"{dims} values were asked for, and the model's vectors have {vectors.shape[1]}")
    return unit_rows(vectors[:, :dims])


def hard_query_mask(queries: Sequence[str | None]) -> npt.NDArray[np.bool_]:
    """Which records have a query."""
    return np.array([bool(query) for query in queries])
