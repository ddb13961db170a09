"""Parts of a batch side by side on the cores of a CPU, each on a stream of MLX's.

Of a step on a CPU only the matrix products use more than one core; MLX computes all that lies between them on the one
thread of their stream. With half a batch on each of two streams, and one BLAS thread for each, both cores are busy all
the time: a step of the bundled model's shape takes four fifths of the time. On a GPU there is nothing to gain.
"""

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_map

from mlx_mixer.cores import computing_threads
from mlx_mixer.runtime import blas_threads
from mlx_mixer.training.gradients import Gradients
from mlx_mixer.training.ranks import Ranks
from mlx_mixer.training.splitting import Batch, Split

# Each holds gradients of its own, and their sum is on one core again.
_MOST = 8
_of_this_thread = threading.local()


class Lanes:
    """Streams that compute the gradients of a batch together.

    Args:
        count: How many; one computes every batch whole.
        split: How a batch is shared out.
    """

    def __init__(self, count: int, split: Split) -> None:
        self._split = split
        self._streams = _streams(count) if count > 1 else []

    def divide(self, batch: Batch) -> tuple[list[Batch], list[mx.array]]:
        """The parts of a batch that count, and how much each does; outside of anything that is compiled."""
        count = len(self._streams)
        parts = [self._split(batch, number, count) for number in range(count)]
        counted = [(part, mx.array(weight)) for part, weight in parts if weight]
        if len(counted) < 2:
            return [batch], [mx.array(1.0)]
        return [part for part, _ in counted], [weight for _, weight in counted]

    def gradients(
        self, gradients_of: Gradients, model: nn.Module, parts: Sequence[Batch], weights: Sequence[mx.array]
    ) -> tuple[mx.array, Any]:
        r"""Loss and gradients of the whole batch, :math:`\sum_i w_i \nabla l_i / \sum_i w_i`, not evaluated yet."""
        if len(parts) == 1:
            return gradients_of(model, *parts[0])
        total = sum(weights[1:], weights[0])
        loss, gradients = mx.array(0.0), None
        for part, weight, stream in zip(parts, weights, self._streams, strict=False):
            with mx.stream(stream):
                value, found = gradients_of(model, *part)
            share = weight / total
            loss = loss + share * value
            scaled = tree_map(lambda array, share=share: share * array, found)
            gradients = scaled if gradients is None else tree_map(mx.add, gradients, scaled)
        return loss, gradients

    def computing(self) -> AbstractContextManager[None]:
        """While gradients are evaluated: the threads of the BLAS shared out among the streams."""
        count = len(self._streams)
        return blas_threads(max(1, computing_threads() // count)) if count else nullcontext()


def _streams(count: int) -> list[mx.Stream]:
    """This thread's streams, which last as long as it does: each has a thread of its own, and they cannot be ended."""
    known: list[mx.Stream] = _of_this_thread.__dict__.setdefault("streams", [])
    while len(known) < count:
        known.append(mx.new_stream(mx.cpu))
    return known[:count]


def count_lanes(ranks: Ranks) -> int:
    """As many as there are cores to use, where a CPU computes and this process has it for itself."""
    return min(computing_threads(), _MOST) if mx.default_device() == mx.cpu and ranks.is_alone else 1
