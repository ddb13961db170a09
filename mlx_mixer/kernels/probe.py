"""Try a Metal kernel against its plain twin: is it right, and is it faster at this shape?"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx

from mlx_mixer.kernels.twins import Form, Shape, TwinKernel

# Largest difference allowed, as a share of the largest value. Sums of a few hundred products of rounded numbers.
TOLERANCE = {mx.float32: 1e-4, mx.float16: 1e-2, mx.bfloat16: 8e-2}
ROUNDS = 7
# A launch costs microseconds and waiting for the GPU a hundred: time many launches per wait, unless they are large.
MOST_CALLS = 20
ROUND_SECONDS = 0.02


@dataclass(frozen=True)
class Verdict:
    """What a probe found.

    Attributes:
        metal: Whether the Metal form is to be used.
        reason: One line for people.
        max_error: Largest difference from the plain form, as a share of its largest value.
        speed_ratio: Time of the plain form over time of the Metal form.
    """

    metal: bool
    reason: str
    max_error: float | None = None
    speed_ratio: float | None = None


def probe(
    twins: TwinKernel, shape: Shape, dtype: mx.Dtype, *, clock: Callable[[], float] = time.perf_counter
) -> Verdict:
    """Compare the two forms, at a tiny ragged shape first and then at the shape asked for.

    Returns:
        A verdict for the Metal form only if it agrees at both shapes and is faster at this one.

    Raises:
        RuntimeError: Whatever MLX raises when the Metal form cannot be compiled or run.
    """
    tiny = twins.probe_inputs({**shape, **twins.tiny}, dtype)
    inputs = twins.probe_inputs(dict(shape), dtype)
    error = max(_disagreement(twins, tiny), _disagreement(twins, inputs))
    # Not "error > tolerance": a difference that is not a number must fail too.
    if not error <= TOLERANCE[dtype]:
        return Verdict(False, f"disagrees with plain MLX by {error:.1e}, more than {TOLERANCE[dtype]:.0e}", error)
    ratio = _speed_ratio(twins, inputs, clock)
    if ratio <= 1:
        return Verdict(False, "plain MLX is as fast", error, ratio)
    return Verdict(True, "agrees and is faster", error, ratio)


def _disagreement(twins: TwinKernel, inputs: tuple[object, ...]) -> float:
    """Largest difference of any output, as a share of the largest value of that output."""
    errors = []
    for want, got in zip(twins.plain(*inputs), twins.metal(*inputs), strict=True):
        if (want.shape, want.dtype) != (got.shape, got.dtype):
            return float("inf")
        want, got = want.astype(mx.float32), got.astype(mx.float32)
        error = mx.abs(got - want).max() / mx.maximum(mx.abs(want).max(), 1e-6)
        # A NaN would be lost in Python's `max`, whose comparisons are all false.
        errors.append(mx.where(mx.isnan(error), float("inf"), error))
    worst = mx.stack(errors).max().item()
    assert isinstance(worst, float), "a maximum of float32 values"
    return worst


def _speed_ratio(twins: TwinKernel, inputs: tuple[object, ...], clock: Callable[[], float]) -> float:
    """Median time of the plain form over that of the Metal form, taken in turns so that a busy machine slows both."""
    once = _time(twins.plain, inputs, 1, clock)
    calls = max(1, min(MOST_CALLS, int(ROUND_SECONDS / max(once, 1e-6))))
    plain, metal = [], []
    for _ in range(ROUNDS):
        plain.append(_time(twins.plain, inputs, calls, clock))
        metal.append(_time(twins.metal, inputs, calls, clock))
    return statistics.median(plain) / max(statistics.median(metal), 1e-9)


def _time(form: Form, inputs: tuple[object, ...], calls: int, clock: Callable[[], float]) -> float:
    started = clock()
    mx.eval([form(*inputs) for _ in range(calls)])
    return clock() - started
