r"""Gradient descent on the input of a model, until its output equals a given one.

From noise :math:`x_0` of the scale of the token vectors, :math:`x_{i+1} = x_i - \eta_i \nabla_x \sum |f(x_i) - y|`
with a rate that falls on a line from :math:`\eta` to :math:`\eta / 10`. Source: https://arxiv.org/abs/2409.01482, input
representation accuracy. "adam" divides each number's gradient by its running size first (https://arxiv.org/abs/1412.6980),
which separates what the output does not hold from what plain descent is too slow to find.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import mlx.core as mx
import numpy as np
import numpy.typing as npt

Descent = Literal["plain", "adam"]
Floats = npt.NDArray[np.float32]

_BETAS = (0.9, 0.99)
_EPS = 1e-12


class Recovered(NamedTuple):
    """Where the descent ended.

    Attributes:
        vectors: ``(N, L, D)``, the inputs found.
        distances: ``(N,)``, sums of absolute differences of the outputs; infinite where the descent left all bounds.
    """

    vectors: Floats
    distances: Floats


def recover(
    outputs: Callable[[mx.array], mx.array],
    wanted: mx.array,
    start: mx.array,
    rates: mx.array,
    *,
    iterations: int,
    descent: Descent,
    report: Callable[[int], None] | None = None,
) -> Recovered:
    """Look for inputs whose outputs are the wanted ones.

    Args:
        outputs: The model, rows ``(N, L, D)`` to what is compared; every row by itself.
        wanted: Its outputs for the inputs looked for.
        start: ``(N, L, D)`` where the search begins.
        rates: ``(N,)`` first step size of every row.
        iterations: Steps.
        descent: How a gradient becomes a step.
        report: Told the number of steps done.
    """

    @mx.compile
    def step(state: list[mx.array], number: mx.array) -> list[mx.array]:
        x, *moments = state
        gradient = mx.grad(lambda rows: mx.abs(outputs(rows) - wanted).sum())(x)
        direction, moments = _direction(gradient, moments, number)
        falling = rates * (1 - 0.9 * number / iterations)
        return [x - falling[:, None, None] * direction, *moments]

    state = [start] if descent == "plain" else [start, mx.zeros_like(start), mx.zeros_like(start)]
    for number in range(iterations):
        state = step(state, mx.array(float(number)))
        mx.eval(state)
        if report is not None:
            report(number + 1)
    found = np.array(state[0])
    distances = np.array(mx.abs(outputs(state[0]) - wanted).sum(axis=(1, 2)))
    return Recovered(found, np.where(np.isfinite(distances), distances, np.inf).astype(np.float32))


def _direction(gradient: mx.array, moments: list[mx.array], number: mx.array) -> tuple[mx.array, list[mx.array]]:
    if not moments:
        return gradient, []
    first = _BETAS[0] * moments[0] + (1 - _BETAS[0]) * gradient
    second = _BETAS[1] * moments[1] + (1 - _BETAS[1]) * gradient * gradient
    mean = first / (1 - mx.power(_BETAS[0], number + 1))
    size = mx.sqrt(second / (1 - mx.power(_BETAS[1], number + 1)))
    return mean / (size + _EPS), [first, second]
