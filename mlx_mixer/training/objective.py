"""The loss of a retrieval run, put together from its settings."""

from dataclasses import dataclass
from typing import Literal, get_args

import mlx.core as mx

from mlx_mixer.errors import UsageError
from mlx_mixer.training.contrastive import info_nce, nested, one_positive
from mlx_mixer.training.distillation import divergence

LossName = Literal["info-nce", "one-positive"]
DEFAULT_TEMPERATURE: dict[LossName, float] = {"info-nce": 0.04, "one-positive": 0.02}


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings:
    """What a retrieval run minimises.

    Attributes:
        loss: See `mlx_mixer.training.contrastive`.
        temperature: Of that loss.
        rows: Pairs that a query of "one-positive" sees.
        matryoshka: Sizes at which the first values of a vector are to serve alone.
        teacher_weight: Share of `mlx_mixer.training.distillation` in the loss, from 0 to 1.
    """

    loss: LossName = "info-nce"
    temperature: float = DEFAULT_TEMPERATURE["info-nce"]
    rows: int = 32
    matryoshka: tuple[int, ...] = ()
    teacher_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.loss not in get_args(LossName):
            raise UsageError(f"loss is {self.loss!r}; it must be one of {', '.join(get_args(LossName))}")
        if not self.temperature > 0:
            raise UsageError(f"temperature is {self.temperature}; it must be above 0")
        if self.rows < 2:
            raise UsageError(f"rows is {self.rows}; a query needs at least one wrong answer beside its passage, so 2")
        if not 0 <= self.teacher_weight <= 1:
            raise UsageError(f"teacher_weight is {self.teacher_weight}; it must be from 0 to 1")
        if any(size < 1 for size in self.matryoshka) or len(set(self.matryoshka)) < len(self.matryoshka):
            raise UsageError(f"matryoshka is {list(self.matryoshka)}; sizes must be different and at least 1")

    def check_dims(self, dims: int) -> None:
        """See that vectors of this size have the sizes asked for.

        Raises:
            UsageError: If they do not.
        """
        if self.matryoshka and max(self.matryoshka) >= dims:
            raise UsageError(
                f"matryoshka is {list(self.matryoshka)}; this model's vectors have {dims} values; give smaller sizes"
            )

    def __call__(self, queries: mx.array, passages: mx.array, excluded: mx.array, *teacher: mx.array) -> mx.array:
        """The loss of unit vectors.

        Args:
            queries: ``(B, D)``.
            passages: ``(P, D)``; see `mlx_mixer.training.pair_batches.DrawnPairs` for their order.
            excluded: ``(B, P)``; see `info_nce`.
            *teacher: Nothing, or the teacher's scores ``(B, P)`` and ``(B, P)`` which of them it knows.

        Returns:
            A float32 scalar in nats.
        """

        def loss(queries: mx.array, passages: mx.array) -> mx.array:
            by_label = self._by_label(queries, passages, excluded)
            if not teacher:
                return by_label
            by_teacher = divergence(queries @ passages.T / self.temperature, *teacher)
            return (1 - self.teacher_weight) * by_label + self.teacher_weight * by_teacher

        return nested(loss, queries, passages, self.matryoshka)

    def _by_label(self, queries: mx.array, passages: mx.array, excluded: mx.array) -> mx.array:
        if self.loss == "one-positive":
            return one_positive(queries, passages, self.temperature, self.rows, excluded)
        return info_nce(queries, passages, self.temperature, excluded)
