"""Another order in memory must be invisible to everything but the clock."""

from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx import nn, optimizers
from mlx.utils import tree_flatten
from safetensors.numpy import load_file

from mlx_mixer.checkpoint import WEIGHTS_NAME, load_language_model, save_model
from mlx_mixer.memory_layout import lay_out_for_decode
from mlx_mixer.models.language import LanguageMixer
from tests.tiny import tiny_model


def strides(matrix: mx.array) -> tuple[int, ...]:
    return memoryview(matrix).strides or ()  # type: ignore[arg-type]  # an MLX array exports its buffer


def relaid() -> tuple[LanguageMixer, dict[str, np.ndarray]]:
    model = tiny_model()
    before = {name: np.array(array) for name, array in tree_flatten(model.parameters())}
    lay_out_for_decode(model)
    mx.eval(model.parameters())
    return model, before


def test_the_longer_axis_is_contiguous_and_values_stay() -> None:
    model, before = relaid()
    for name, array in tree_flatten(model.parameters()):
        np.testing.assert_array_equal(np.array(array), before[name])
    up, down = model.layers[0].channel_mixing.up.weight, model.layers[0].channel_mixing.down.weight
    assert up.shape[0] > up.shape[1]
    assert strides(up) == (4, 4 * up.shape[0])
    assert strides(down) == (4 * down.shape[1], 4)
    assert strides(model.lm_head.weight)[0] == 4
    assert strides(model.embed_tokens.weight)[1] == 4


def test_another_reader_finds_the_weights_in_their_order(tmp_path: Path) -> None:
    model, before = relaid()
    save_model(tmp_path, model)
    stored = load_file(tmp_path / WEIGHTS_NAME)
    assert stored.keys() == before.keys()
    for name, array in stored.items():
        np.testing.assert_array_equal(array, before[name])


def test_loaded_models_are_laid_out(tmp_path: Path) -> None:
    save_model(tmp_path, tiny_model())
    up = load_language_model(tmp_path).layers[0].channel_mixing.up.weight
    assert strides(up) == (4, 4 * up.shape[0])


def test_training_goes_on_from_it() -> None:
    """Gradients come in rows; an optimiser must not mix the two orders up."""
    ids = mx.array([[1, 2, 3, 4]])
    steps = []
    for lay_out in (False, True):
        mx.random.seed(0)
        model = tiny_model()
        if lay_out:
            lay_out_for_decode(model)
        optimizer = optimizers.AdamW(learning_rate=1e-2)
        _, gradients = nn.value_and_grad(model, lambda model: model(ids).square().mean())(model)
        optimizer.update(model, gradients)
        steps.append(np.array(model.layers[0].channel_mixing.up.weight))
    np.testing.assert_allclose(steps[1], steps[0], atol=1e-6)
