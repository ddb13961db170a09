"""A Metal kernel as data: its text, and what MLX needs to know of it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import cast

import mlx.core as mx

# All 32 lanes of a SIMD-group take part in every kernel of ours.
SIMD_WIDTH = 32


@dataclass(frozen=True)
class MetalSource:
    """What `mx.fast.metal_kernel` is built from.

    Attributes:
        name: Unique in this package: older MLX releases could run the wrong body for two texts of one name.
        inputs: Names of the input arrays, in the order of the call.
        outputs: Names of the output arrays.
        body: The function's body. ASCII, and every store converts to the type of the output.
        header: What stands before the function.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    body: str
    header: str = ""

    @property
    def digest(self) -> str:
        """Changes whenever the text does."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


@cache
def build(source: MetalSource) -> Callable[..., list[mx.array]]:
    """The callable of a kernel, made on first use: older MLX raises here where there is no Metal."""
    kernel = mx.fast.metal_kernel(
        name=f"mlx_mixer_{source.name}",
        input_names=list(source.inputs),
        output_names=list(source.outputs),
        source=source.body,
        header=source.header,
    )
    # Its stub declares it to return any object.
    return cast("Callable[..., list[mx.array]]", kernel)


def tiles(length: int, tile: int) -> int:
    """How many tiles cover a length."""
    return -(-length // tile)
