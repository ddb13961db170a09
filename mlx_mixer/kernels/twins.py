"""A kernel in its two forms, and how to try them on each other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_mixer.kernels.metal_source import MetalSource

# Named sizes and flags of one call, for example {"batch": 1, "dims": 512}; with the dtype they decide how fast it is.
Shape = Mapping[str, int]
# Either form: the same arguments, and a tuple of arrays of the same shapes and dtypes.
Form = Callable[..., tuple[mx.array, ...]]


@dataclass(frozen=True)
class TwinKernel:
    """A computation as plain MLX operations and as a Metal kernel.

    Attributes:
        name: What reports call it.
        plain: The form that runs everywhere and defines the result.
        metal: The form for Apple GPUs.
        sources: The Metal texts that `metal` runs.
        tiny: Sizes of the first probe: ragged, so that an edge handled wrongly shows.
        typical: Sizes and flags that a report tries.
        probe_inputs: Arguments of a call of some shape and dtype, random but always the same.
    """

    name: str
    plain: Form
    metal: Form
    sources: tuple[MetalSource, ...]
    tiny: Shape
    typical: Shape
    probe_inputs: Callable[[dict[str, int], mx.Dtype], tuple[Any, ...]]


def random_array(seed: int, shape: tuple[int, ...], dtype: mx.Dtype) -> mx.array:
    """Standard normal numbers, made by NumPy: MLX's generator may be an input of the function being compiled."""
    values = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return mx.array(values).astype(dtype)
