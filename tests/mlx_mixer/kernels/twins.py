"""A tiny kernel whose "Metal" form is whatever a test says, for trying the machinery that chooses."""

import time
from collections.abc import Callable

import mlx.core as mx

from mlx_mixer.kernels.metal_source import MetalSource
from mlx_mixer.kernels.twins import Form, TwinKernel, random_array

SHAPE = {"size": 64}


def double(x: mx.array) -> tuple[mx.array, ...]:
    return (x + x,)


def slowly(form: Form, seconds: float = 1e-4) -> Form:
    """The same result, later."""

    def slow(x: mx.array) -> tuple[mx.array, ...]:
        time.sleep(seconds)
        return form(x)

    return slow


def make_twins(
    metal: Callable[[mx.array], tuple[mx.array, ...]], plain: Form = double, *, name: str = "double", body: str = "1"
) -> TwinKernel:
    return TwinKernel(
        name=name,
        plain=plain,
        metal=metal,
        sources=(MetalSource(name, ("x",), ("y",), body),),
        tiny={"size": 5},
        typical=SHAPE,
        probe_inputs=lambda shape, dtype: (random_array(0, (shape["size"],), dtype),),
    )
