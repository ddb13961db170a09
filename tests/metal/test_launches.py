"""How many launches a decode step costs: on an Apple GPU they, and not bytes, decide for a small model."""

from collections import Counter
from pathlib import Path

import mlx.core as mx
import pytest

from mlx_mixer.kernels import mix_step as module
from mlx_mixer.kernels.mix_step import BLOCK, mix_step, write_row
from tests.metal.graph import as_on_a_mac, launches

LAYERS, DIMS, CONTEXT = 2, 64, 96


def step(
    x: mx.array, position: mx.array, weight: mx.array, bias: mx.array, gain: mx.array, *caches: mx.array
) -> list[mx.array]:
    """The token mixing of each layer for one token; `caches` are past and recent rows of each layer."""
    rows = []
    for past, recent in zip(caches[::2], caches[1::2], strict=True):
        inputs = {"past": past, "recent": recent, "weight": weight, "bias": bias, "position": position}
        x, row = mix_step(x, **inputs, norm=(gain, gain))
        rows.append(write_row(recent, row, position))
    return [x, *rows]


def arguments() -> list[mx.array]:
    caches = [mx.zeros((1, BLOCK, DIMS)) for _ in range(2 * LAYERS)]
    weight, bias = mx.zeros((1, CONTEXT, CONTEXT)), mx.zeros((1, CONTEXT))
    return [mx.zeros((1, DIMS)), mx.array([40], mx.int32), weight, bias, mx.ones((DIMS,)), *caches]


def test_a_layer_mixes_in_one_launch_and_keeps_its_row_in_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place of the position in its block is computed once for all layers."""
    with as_on_a_mac(tmp_path, monkeypatch, module):
        counted = launches(step, *arguments())
    assert counted == Counter(CustomKernel=LAYERS, DynamicSliceUpdate=LAYERS, Remainder=1)


def test_the_plain_form_launches_no_kernel() -> None:
    assert launches(step, *arguments())["CustomKernel"] == 0
