"""Model folders, whole and damaged."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from mlx_mixer.checkpoint import load, load_language_model, load_model, resolve_model, save_model, write_checkpoint
from mlx_mixer.errors import CheckpointError, ModelNotFoundError, UnsupportedModelError
from mlx_mixer.paths import default_paths
from tests.tiny import FORMS, tiny_model, tiny_model_folder
from tests.tiny_kinds import CONFIGS, model_of


@pytest.mark.parametrize("form", FORMS)
def test_a_saved_model_is_the_same_when_loaded(form: str, tmp_path: Path) -> None:
    model = tiny_model(**FORMS[form], pooling="token_weighted")
    save_model(tmp_path, model)
    loaded = load_model(tmp_path)
    assert loaded.config == model.config
    for (name, before), (other, after) in zip(
        tree_flatten(model.parameters()), tree_flatten(loaded.parameters()), strict=True
    ):
        assert name == other
        np.testing.assert_array_equal(np.array(before), np.array(after))


@pytest.mark.parametrize("name", CONFIGS)
def test_every_kind_is_the_same_when_loaded(name: str, tmp_path: Path) -> None:
    model = model_of(CONFIGS[name])
    save_model(tmp_path, model)
    loaded = load_model(tmp_path)
    assert type(loaded) is type(model)
    assert loaded.config == CONFIGS[name]
    for (path, before), (other, after) in zip(
        tree_flatten(model.parameters()), tree_flatten(loaded.parameters()), strict=True
    ):
        assert path == other
        np.testing.assert_array_equal(np.array(before), np.array(after))


@pytest.mark.parametrize("loader", [load, load_language_model])
def test_a_kind_that_does_not_write_is_refused_where_writing_is_meant(loader: Any, tmp_path: Path) -> None:
    save_model(tmp_path, model_of(CONFIGS["retrieval"]))
    with pytest.raises(UnsupportedModelError, match="type 'retrieval_mixer', which does not write"):
        loader(tmp_path)


@pytest.mark.skipif(mx.default_device() != mx.cpu, reason="half precision is kept where it is fast")
@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16], ids=str)
def test_half_precision_is_held_in_float32_on_a_cpu(dtype: mx.Dtype, tmp_path: Path) -> None:
    model = tiny_model(dtype=dtype)
    save_model(tmp_path, model)
    weight = load_model(tmp_path).embed_tokens.weight
    assert weight.dtype == mx.float32
    np.testing.assert_array_equal(np.array(weight), np.array(model.embed_tokens.weight.astype(mx.float32)))


def test_shards_are_put_together(tmp_path: Path) -> None:
    model = tiny_model()
    save_model(tmp_path, model)
    weights = dict(tree_flatten(model.parameters()))
    names = sorted(weights)
    files = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in files.items():
        mx.save_safetensors(str(tmp_path / file), {name: weights[name] for name in part})
    (tmp_path / "model.safetensors").unlink()
    index = {"weight_map": {name: file for file, part in files.items() for name in part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    np.testing.assert_array_equal(np.array(load_model(tmp_path).lm_head.weight), np.array(model.lm_head.weight))


def test_an_index_cannot_point_outside_the_folder(tmp_path: Path) -> None:
    save_model(tmp_path, tiny_model())
    (tmp_path / "model.safetensors").rename(tmp_path.parent / "evil.safetensors")
    index = {"weight_map": {"a": "../evil.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"names '\.\./evil\.safetensors'"):
        load_model(tmp_path)


def damage_config(folder: Path) -> None:
    (folder / "config.json").write_text("{", encoding="utf-8")


def damage_weights(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-5])


def wrap_a_shape(folder: Path) -> None:
    """A header that MLX itself loads, and crashes on."""
    header = {"a": {"dtype": "F32", "shape": [65536, 65536, 65536, 16384, 4], "data_offsets": [0, 0]}}
    raw = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(raw).to_bytes(8, "little") + raw)


def drop_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def forget_a_tensor(folder: Path) -> None:
    model = tiny_model()
    weights = dict(tree_flatten(model.parameters()))
    del weights["lm_head.weight"]
    write_checkpoint(folder, weights, model.config)


def change_the_width(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**values, "intermediate_size": 48}), encoding="utf-8")


@pytest.mark.parametrize(
    "damage", [damage_config, damage_weights, wrap_a_shape, drop_weights, forget_a_tensor, change_the_width]
)
def test_every_damage_is_one_line(damage: Any, tmp_path: Path) -> None:
    save_model(tmp_path, tiny_model())
    damage(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_model_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    with pytest.raises(UnsupportedModelError, match="'llama'"):
        load_model(tmp_path)


def test_a_name_is_looked_up_in_the_models_folder() -> None:
    folder = tiny_model_folder(default_paths().models / "mine")
    assert resolve_model("mine") == folder
    assert resolve_model(folder) == folder


def test_a_missing_model_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(
        ModelNotFoundError, match=r"no model at nowhere or .*models/nowhere; see: mlx-mixer models list"
    ):
        load_model("nowhere")
    with pytest.raises(ModelNotFoundError, match="mlx-mixer convert"):
        load_model(tmp_path)
