"""Studies at sizes that take a second."""

from collections.abc import Iterator

import mlx.core as mx
import pytest


@pytest.fixture(autouse=True)
def _uncompiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compiling a step for the CPU takes longer than these steps, in child processes too."""
    monkeypatch.setenv("MLX_DISABLE_COMPILE", "1")
    mx.disable_compile()
    yield
    mx.enable_compile()
