"""Models of equal size, and the operations they are said to take."""

import math
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx import nn
from mlx.utils import tree_flatten

from mlx_mixer.study.autoencoders import autoencoders
from mlx_mixer.study.contenders import contenders
from mlx_mixer.study.settings import MIXER, NAMES, StudySettings

SETTINGS = StudySettings(hidden_size=32, num_layers=3, num_heads=2, vocab_size=96)
KINDS = {"language": contenders, "autoencoder": autoencoders}
LENGTH = 24


def counted_size(model: nn.Module) -> int:
    """Values of a model; of square matrices over positions only the triangle."""
    total = 0
    for name, value in tree_flatten(model.parameters()):
        is_mixing = name.endswith("token_mixing.weight")
        total += int(np.tril(np.ones(value.shape[-2:])).sum()) if is_mixing else value.size
    return total


def traced_flops(run: Callable[[mx.array], mx.array], ids: mx.array) -> int:
    """Twice the multiplications of every matrix product that MLX's own tracer sees."""
    total = 0

    def note(event: dict[str, Any]) -> None:
        nonlocal total
        if event["type"] == "primitive" and event["name"] in ("Matmul", "AddMM"):
            left, right = (shape for _, shape, _ in event["inputs"][:2])
            total += 2 * math.prod(left) * right[-1]

    mx.export_function(note, run, ids)
    return total


def without_custom_gradients(model: nn.Module) -> None:
    # MLX's exporter cannot write functions with gradients of their own; this is the same function without.
    for module in model.modules():
        if "_activation" in vars(module):
            module._activation = nn.gelu


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [LENGTH, 100])
def test_sizes_are_what_is_stated_and_nearly_equal(kind: str, length: int) -> None:
    models = {name: make() for name, make in KINDS[kind](SETTINGS, length).items()}
    sizes = {name: model.size for name, model in models.items()}
    assert sizes == {name: counted_size(model) for name, model in models.items()}
    assert max(sizes.values()) < 1.03 * min(sizes.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_operations_are_what_the_graph_of_one_pass_holds(kind: str, name: str) -> None:
    model = KINDS[kind](SETTINGS, LENGTH)[name]()
    without_custom_gradients(model)
    ids = mx.zeros((2, LENGTH), mx.int32)
    assert traced_flops(lambda x: model.hidden_states(x) @ model.head().T, ids) == 2 * model.flops(LENGTH)
    if kind == "language":
        assert traced_flops(model.hidden_states, ids) == 2 * model.flops(LENGTH, with_head=False)


@pytest.mark.parametrize("name", NAMES)
def test_the_last_block_gives_what_the_head_sees_up_to_the_norm(name: str) -> None:
    model = contenders(SETTINGS, LENGTH)[name]()
    ids = mx.array(np.random.default_rng(0).integers(0, 96, (2, LENGTH)))
    left = model.last_block(model.token_table()(ids))
    seen = left if name == MIXER else model.model.model.norm(left)
    np.testing.assert_allclose(np.array(seen), np.array(model.hidden_states(ids)), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_reaches_the_decoder_but_one_vector(name: str) -> None:
    """Two windows with the same vector would come out alike: so the states depend on the encoder's last one alone."""
    model = autoencoders(SETTINGS, LENGTH)[name]()
    ids = mx.array(np.random.default_rng(0).integers(0, 96, (1, LENGTH)))
    if name == MIXER:
        inner = model.model
        vector, decoder = inner.embeddings(ids), inner.decoder
        x = mx.broadcast_to(vector[:, None], (1, LENGTH, 32))
        for block in decoder:
            x = block(x)
    else:
        x = mx.broadcast_to(model.encoder(ids)[:, -1:], (1, LENGTH, 32))
        for block in model.decoder:
            x = block(x, "causal")
        x = model.norm(x)
    np.testing.assert_allclose(np.array(x), np.array(model.hidden_states(ids)), atol=1e-5)
