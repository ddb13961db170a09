"""Count what a function would launch on a GPU, from its exported graph; nothing runs."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from mlx_mixer.kernels.choose import Chooser
from mlx_mixer.kernels.metal_source import build
from mlx_mixer.kernels.probe import Verdict
from mlx_mixer.kernels.verdicts import VerdictStore

# Operations that only look at their input in another way.
VIEWS = {"Broadcast", "ExpandDims", "Flatten", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unflatten"}


def launches(function: Callable[..., Any], *arrays: mx.array) -> Counter[str]:
    """How often each operation that costs a launch occurs; a Metal kernel of ours is a `CustomKernel`."""
    nodes: list[dict[str, Any]] = []
    mx.export_function(nodes.append, function, *arrays)
    names = (node["name"] for node in nodes if node["type"] == "primitive")
    return Counter(name for name in names if name not in VIEWS)


def metal_chooser(folder: Path) -> Chooser:
    """A chooser for which every Metal form has passed its probe."""
    always = Verdict(True, "for this test", 0.0, 2.0)
    store = VerdictStore(folder / "kernels.json")
    return Chooser(store, environ={}, is_usable=lambda: True, measure=lambda *_: always)


@contextmanager
def as_on_a_mac(folder: Path, monkeypatch: pytest.MonkeyPatch, *users: Any) -> Iterator[None]:
    """Inside, every kernel is chosen in its Metal form and can be traced, but not run.

    Args:
        folder: Empty, for what the chooser writes.
        monkeypatch: Restores what is changed.
        users: Modules that ask `default_chooser` for a form.
    """
    make = mx.fast.metal_kernel
    monkeypatch.setattr(mx.fast, "metal_kernel", lambda **text: partial(make(**text), stream=mx.gpu))
    chooser = metal_chooser(folder)
    for module in users:
        monkeypatch.setattr(module, "default_chooser", lambda: chooser)
    build.cache_clear()
    yield
    build.cache_clear()
