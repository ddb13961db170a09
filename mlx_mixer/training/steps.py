"""One optimiser step: gradients of every part of a batch, their mean, clipping, the update."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import mlx.core as mx
from mlx import nn
from mlx import optimizers as optim
from mlx.utils import tree_map

from mlx_mixer.training.gradients import Gradients
from mlx_mixer.training.lanes import Lanes
from mlx_mixer.training.optimizer import RatedAdamW
from mlx_mixer.training.ranks import Ranks
from mlx_mixer.training.splitting import Batch, Split


@dataclass(frozen=True)
class StepOutcome:
    """What a step found.

    Attributes:
        loss: Mean loss of the whole batch before the update, in nats.
        gradient_norm: Global norm of its gradient before clipping.
    """

    loss: float
    gradient_norm: float


# (learning rate, batch) -> outcome
Step = Callable[[float, Batch], StepOutcome]


def make_step(
    model: nn.Module,
    optimizer: RatedAdamW,
    gradients_of: Gradients,
    clip_norm: float,
    *,
    accumulate: int = 1,
    ranks: Ranks,
    split: Split,
    lanes: int = 1,
    is_compiled: bool = True,
) -> Step:
    """The step of a model and its optimiser, both changed in place.

    Args:
        model: The model.
        optimizer: Initialised for its trainable parameters.
        gradients_of: See `mlx_mixer.training.gradients`.
        clip_norm: Largest global norm of a gradient.
        accumulate: Parts that each process computes one after the other.
        ranks: The processes that share the batch.
        split: How it is shared out.
        lanes: How many compute each part side by side, see `mlx_mixer.training.lanes`.
        is_compiled: Whether the gradients are those of one function, which is compiled.
    """
    if accumulate * ranks.size == 1 and is_compiled:
        return _whole_step(model, optimizer, gradients_of, clip_norm, Lanes(lanes, split))
    return _PartStep(
        model, optimizer, gradients_of, clip_norm, accumulate, ranks, split, Lanes(lanes, split), is_compiled
    )


def _whole_step(
    model: nn.Module, optimizer: RatedAdamW, gradients_of: Gradients, clip_norm: float, lanes: Lanes
) -> Step:
    touched = [model.state, optimizer.state]

    @partial(mx.compile, inputs=touched, outputs=touched)
    def compiled(parts: list[Batch], weights: list[mx.array]) -> tuple[mx.array, mx.array]:
        value, gradients = lanes.gradients(gradients_of, model, parts, weights)
        gradients, norm = optim.clip_grad_norm(gradients, clip_norm)
        optimizer.update(model, gradients)
        return value, norm

    def step(rate: float, batch: Batch) -> StepOutcome:
        optimizer.set_rate(rate)
        value, norm = compiled(*lanes.divide(batch))
        with lanes.computing():
            mx.eval(value, norm, *touched)
        return StepOutcome(cast("float", value.item()), cast("float", norm.item()))

    return step


class _PartStep:
    r"""A step whose batch is computed in parts.

    With the loss :math:`l_i` of part i a mean over :math:`w_i` terms, the gradient of the whole batch is :math:`\sum_i
    w_i \nabla l_i / \sum_i w_i`.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: RatedAdamW,
        gradients_of: Gradients,
        clip_norm: float,
        accumulate: int,
        ranks: Ranks,
        split: Split,
        lanes: Lanes,
        is_compiled: bool,
    ) -> None:
        self._model, self._optimizer = model, optimizer
        self._accumulate, self._ranks, self._split, self._lanes = accumulate, ranks, split, lanes

        def add(sums: Any, weight: mx.array, parts: list[Batch], weights: list[mx.array]) -> tuple[mx.array, Any]:
            value, gradients = lanes.gradients(gradients_of, model, parts, weights)
            return value * weight, tree_map(lambda total, new: total + weight * new, sums, gradients)

        def update(gradients: Any, scale: mx.array) -> mx.array:
            gradients = tree_map(lambda array: array * scale, gradients)
            gradients, norm = optim.clip_grad_norm(gradients, clip_norm)
            optimizer.update(model, gradients)
            return norm

        touched = [model.state, optimizer.state]
        self._touched = touched
        # Differentiating leaves its own arrays in the model, so that weights go out as they came in.
        self._add = mx.compile(add, inputs=[model.state], outputs=[model.state]) if is_compiled else add
        self._update = mx.compile(update, inputs=touched, outputs=touched)

    def __call__(self, rate: float, batch: Batch) -> StepOutcome:
        loss, weight, sums = self._sum_parts(batch)
        totals: Any = self._ranks.sum(mx.array([loss, weight])).tolist()
        loss, weight = totals
        self._optimizer.set_rate(rate)
        norm = self._update(self._ranks.average(sums), mx.array(self._ranks.size / weight))
        mx.eval(norm, *self._touched)
        return StepOutcome(loss / weight, cast("float", norm.item()))

    def _sum_parts(self, batch: Batch) -> tuple[float, float, Any]:
        """This process's sum of losses, of weights, and of gradients."""
        parts = self._accumulate * self._ranks.size
        loss, weight = 0.0, 0.0
        sums: Any = tree_map(mx.zeros_like, self._model.trainable_parameters())
        for number in range(self._accumulate):
            part, counted = self._split(batch, self._ranks.rank * self._accumulate + number, parts)
            if counted:
                with self._ranks.watching(), self._lanes.computing():
                    value, sums = self._add(sums, mx.array(counted), *self._lanes.divide(part))
                    # Evaluated part by part: memory for one of them is what accumulation is for.
                    mx.eval(value, sums)
                loss, weight = loss + cast("float", value.item()), weight + counted
        return loss, weight, sums
