"""How many launches a decode step costs: on an Apple GPU they, and not bytes, decide for a small model."""

from collections import Counter
from pathlib import Path

import mlx.core as mx
import pytest
from mlx import nn

from mlx_mixer.kernels import mix_step as module
from mlx_mixer.kernels.mix_step import mix_step
from mlx_mixer.kernels.recent_rows import BLOCK
from mlx_mixer.layers import channel_mixing, token_mixing
from mlx_mixer.models.decode_step import DecodeStep
from tests.metal.graph import as_on_a_mac, launches
from tests.tiny import FORMS, tiny_model

LAYERS, DIMS = 2, 64


def step(x: mx.array, position: mx.array, within: mx.array, gain: mx.array, *caches: mx.array) -> list[mx.array]:
    """The token mixing of each layer for one token; `caches` are what lies ahead and recent rows of each layer."""
    blocks = []
    for ahead, recent in zip(caches[::2], caches[1::2], strict=True):
        x, block = mix_step(x, ahead=ahead, recent=recent, within=within, position=position, norm=(gain, gain))
        blocks.append(block)
    return [x, *blocks]


def arguments() -> list[mx.array]:
    caches = [mx.zeros((1, BLOCK, DIMS)) for _ in range(2 * LAYERS)]
    within = mx.zeros((1, BLOCK, BLOCK))
    return [mx.zeros((1, DIMS)), mx.array([40], mx.int32), within, mx.ones((DIMS,)), *caches]


def test_a_layer_mixes_in_one_launch_and_keeps_its_row_in_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place of the position in its block is computed once for all layers."""
    with as_on_a_mac(tmp_path, monkeypatch, module):
        counted = launches(step, *arguments())
    assert counted == Counter(CustomKernel=LAYERS, DynamicSliceUpdate=LAYERS, Remainder=1)


@pytest.mark.parametrize(("form", "kernels"), [("flat", 1), ("headed", 1), ("expanded", 2), ("kernel3", 0)])
def test_the_decode_step_of_a_model_contains_its_kernels(
    form: str, kernels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One per product of a layer, and one update of the block's rows; taps over features stay plain MLX."""
    # On a GPU MLX's own GELU is used; ours for CPUs cannot be exported.
    for owner in (channel_mixing, token_mixing):
        monkeypatch.setattr(owner, "gelu", nn.gelu)
    model = tiny_model(**FORMS[form])
    cache = model.make_cache()
    entries = [
        entry.enter_step(layer.token_mixing.mixings, mx.zeros((1, 1, 16)))
        for entry, layer in zip(cache, model.layers, strict=True)
    ]
    products, parts = len(entries[0]), len(entries[0][0])
    decode_step = DecodeStep(model.layers, model.embed_tokens, lambda x: x, {})

    def step(ids: mx.array, position: mx.array, *rows: mx.array) -> list[mx.array]:
        blocks = [list(rows[start : start + parts]) for start in range(0, len(rows), parts)]
        layers = [blocks[start : start + products] for start in range(0, len(blocks), products)]
        hidden, left = decode_step.trace(ids, [position], [layers], (1,))
        return [hidden, *(block.recent for layer in left[0] for block in layer)]

    flat = [array for layer in entries for block in layer for array in block]
    with as_on_a_mac(tmp_path, monkeypatch, module):
        counted = launches(step, mx.zeros((1, 1), mx.int32), mx.array([5]), *flat)
    assert counted["CustomKernel"] == kernels * len(model.layers)
    assert counted["DynamicSliceUpdate"] == products * len(model.layers)
    if form == "flat":
        # The sublayer's norm is inside the kernel: one layer norm is left per layer, and two matrix products.
        assert counted["Matmul"] + counted["AddMM"] == 2 * len(model.layers)


def test_the_plain_form_launches_no_kernel() -> None:
    assert launches(step, *arguments())["CustomKernel"] == 0
