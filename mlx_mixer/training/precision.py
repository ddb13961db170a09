"""What forward and backward passes compute in."""

import time
from functools import cache
from statistics import median

import mlx.core as mx

from mlx_mixer.errors import UsageError
from mlx_mixer.training.loop_settings import Precision

# bfloat16 loses accuracy, so it must win clearly.
_CLEARLY_FASTER = 1.2
_PROBE_SIZE, _PROBE_ROUNDS = 2048, 5

NOT_ON_A_CPU = (
    "precision bfloat16 on a CPU is many times slower than float32, because MLX multiplies half-precision matrices "
    "there without a tuned BLAS; leave it at auto or give float32"
)


def resolve_precision(wanted: Precision) -> mx.Dtype:
    """The dtype to compute in on the default device.

    Args:
        wanted: "auto" takes bfloat16 if a matrix product on this GPU is clearly faster with it.

    Raises:
        UsageError: If bfloat16 was asked for on a CPU.
    """
    on_cpu = mx.default_device() == mx.cpu
    if wanted == "bfloat16" and on_cpu:
        raise UsageError(NOT_ON_A_CPU)
    if wanted == "float32" or on_cpu:
        return mx.float32
    return mx.bfloat16 if wanted == "bfloat16" or _is_faster_in_bfloat16() else mx.float32


@cache
def _is_faster_in_bfloat16() -> bool:
    return _seconds_of_product(mx.float32) > _CLEARLY_FASTER * _seconds_of_product(mx.bfloat16)


def _seconds_of_product(dtype: mx.Dtype) -> float:
    factor = mx.random.normal((_PROBE_SIZE, _PROBE_SIZE), key=mx.random.key(0)).astype(dtype)
    mx.eval(factor, factor @ factor)  # the first product compiles
    times = []
    for _ in range(_PROBE_ROUNDS):
        started = time.perf_counter()
        mx.eval(factor @ factor)
        times.append(time.perf_counter() - started)
    return median(times)
