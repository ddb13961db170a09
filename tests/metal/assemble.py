"""The exact text that MLX would hand to Apple's compiler, asked of MLX itself on any machine.

A Metal kernel cannot run without Metal, but from MLX 0.32 it can be traced: while a function is exported, a callback
sees each operation, and a custom kernel's arguments hold its name and its text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx


@dataclass(frozen=True)
class Assembled:
    """One kernel as MLX assembles it: the name of its function and the whole text."""

    name: str
    source: str


def assemble(kernel: Callable[..., list[mx.array]], inputs: Sequence[mx.array], **call: Any) -> Assembled:
    """Trace one call of a kernel that `mx.fast.metal_kernel` made."""
    nodes: list[dict[str, Any]] = []

    def traced(*arrays: mx.array) -> list[mx.array]:
        return kernel(inputs=list(arrays), stream=mx.gpu, **call)

    mx.export_function(nodes.append, traced, *inputs)
    arguments = next(node["arguments"] for node in nodes if node.get("name") == "CustomKernel")
    return Assembled(arguments[0], arguments[1])
