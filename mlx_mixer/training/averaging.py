r"""Averages of the weights over the steps of a run, which are often better than the weights of any step.

- "ema": :math:`a \leftarrow d a + (1 - d) \theta` after every step, with :math:`d = \min(0.99, (1 + n) / (10 + n))`
  after n steps, so that the start is soon forgotten.
- "tail": the plain mean over the last 30 % of the steps; before them, the weights themselves.

Sources: https://arxiv.org/abs/1803.05407 (Izmailov et al., Averaging Weights Leads to Wider Optima) for the mean,
https://doi.org/10.1137/0330046 (Polyak and Juditsky) for averages along the way.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten, tree_map, tree_unflatten

Averaging = Literal["none", "ema", "tail"]

DECAY = 0.99
TAIL_SHARE = 0.3


class WeightAverage:
    """The average of a model's trainable weights.

    Args:
        model: The model, as it is before the first step.
        kind: Which average.
        steps: Steps of the whole run.
    """

    def __init__(self, model: nn.Module, kind: Averaging, steps: int) -> None:
        self._model, self._kind = model, kind
        self._first = max(1, steps - round(TAIL_SHARE * steps))
        self._weights: Any = tree_map(lambda weight: weight, model.trainable_parameters())

    def update(self, step: int) -> None:
        """Take the weights in.

        Args:
            step: Steps done, counted from 1.
        """
        if self._kind == "ema":
            share = 1 - min(DECAY, (1 + step) / (10 + step))
        else:
            share = 1.0 if step <= self._first else 1 / (step - self._first + 1)
        self._weights = tree_map(
            lambda average, weight: average + share * (weight - average),
            self._weights,
            self._model.trainable_parameters(),
        )
        mx.eval(self._weights)

    def differs(self, step: int) -> bool:
        """Whether it is anything else than the weights after `step` steps."""
        return self._kind == "ema" or step > self._first

    @property
    def state(self) -> dict[str, mx.array]:
        """The average by parameter, for a checkpoint."""
        return dict(tree_flatten(self._weights))

    @state.setter
    def state(self, arrays: dict[str, mx.array]) -> None:
        self._weights = tree_unflatten(list(arrays.items()))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The average in the model, and what was there before in it again afterwards."""
        weights = tree_map(lambda weight: weight, self._model.trainable_parameters())
        self._model.update(self._weights)
        try:
            yield
        finally:
            self._model.update(weights)
