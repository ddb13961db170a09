"""The dials of the training loop, whatever the objective."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from mlx_mixer.errors import UsageError
from mlx_mixer.training.averaging import Averaging

Schedule = Literal["cosine", "linear", "constant"]
Precision = Literal["auto", "float32", "bfloat16"]

# Share of the peak rate that the falling schedules end at.
FINAL_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How a model is trained, whatever the objective.

    Attributes:
        steps: Optimiser steps in all.
        learning_rate: Peak, reached after `warmup_steps`.
        warmup_steps: Steps of linear rise from 0.
        schedule: What follows the peak: a cosine or a line down to a tenth of it, or no change.
        embedding_rate: Factor on the learning rate of the token vectors and the pooling; the rest gets the plain rate.
        weight_decay: AdamW's, on everything.
        clip_norm: Largest global norm of a gradient.
        accumulate: Batches whose gradients are averaged in one step; the step is that of one batch so many times the
            size, and takes the memory of one.
        precision: What forward and backward passes compute in. Weights and the optimiser stay in float32. "auto" takes
            bfloat16 where the device is measurably faster with it.
        average: Which average of the weights is kept beside them, and instead of them where validation finds it
            better; see `mlx_mixer.training.averaging`.
        checkpoint_every: Steps between two checkpoints; a kill loses at most that many.
        validate_every: Steps between two validations, where there is one.
        patience: Validations without a new best after which training stops; 0 never stops early.
        seed: Decides the order of the data and every random choice.
    """

    steps: int
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    schedule: Schedule = "cosine"
    embedding_rate: float = 1.0
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    accumulate: int = 1
    precision: Precision = "float32"
    average: Averaging = "none"
    checkpoint_every: int = 100
    validate_every: int = 100
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "checkpoint_every", "validate_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("learning_rate", "embedding_rate", "clip_norm"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} is {value}; it must be a number above 0")
        for name in ("warmup_steps", "weight_decay", "patience", "seed"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} is {getattr(self, name)}; it must not be negative")
        for name, kind in (("schedule", Schedule), ("precision", Precision), ("average", Averaging)):
            if getattr(self, name) not in get_args(kind):
                raise UsageError(f"{name} is {getattr(self, name)!r}; there are {', '.join(get_args(kind))}")

    def decisive(self, processes: int = 1) -> dict[str, Any]:
        """What must not change when a run is resumed, as JSON values.

        A step's batch may be shared out differently: two processes, or one that accumulates two parts, train alike.

        Args:
            processes: How many train together.
        """
        values = asdict(self)
        parts = values.pop("accumulate") * processes
        return {**values, "parts": parts}


def learning_rate_at(step: int, settings: LoopSettings) -> float:
    """The rate of a step counted from 0: linear warm-up, then the schedule."""
    peak = settings.learning_rate
    if step < settings.warmup_steps:
        return peak * (step + 1) / settings.warmup_steps
    progress = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    match settings.schedule:
        case "constant":
            return peak
        case "linear":
            return peak * (1 - (1 - FINAL_SHARE) * progress)
        case _:
            return peak * (FINAL_SHARE + (1 - FINAL_SHARE) * (1 + math.cos(math.pi * progress)) / 2)
