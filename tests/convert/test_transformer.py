"""Transformers are converted by mlx-lm, and nothing of theirs is run."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_lm
import numpy as np
import pytest
from mlx.utils import tree_flatten
from mlx_lm.models import llama

from convert import convert_checkpoint
from convert.report import TransformerConfig
from mlx_mixer.errors import ConversionError, MixerError
from tests.tiny import byte_tokenizer

CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": 264,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "eos_token_id": 256,
}


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama in the layout of the Hub, its weights in two files."""
    folder = tmp_path_factory.mktemp("hub") / "tiny-llama"
    folder.mkdir()
    mx.random.seed(2)
    model = llama.Model(llama.ModelArgs.from_dict(CONFIG))
    weights = {name: array.astype(mx.float32) for name, array in tree_flatten(model.parameters())}
    names = sorted(weights)
    files = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in files.items():
        mx.save_safetensors(str(folder / file), {name: weights[name] for name in part})
    index = {"weight_map": {name: file for file, part in files.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    code = {"AutoConfig": "modeling_evil.Config", "AutoModelForCausalLM": "modeling_evil.Model"}
    (folder / "config.json").write_text(json.dumps({**CONFIG, "auto_map": code}))
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<eos>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "modeling_evil.py").write_text("raise SystemExit('ran')")
    return folder


def copy_of(folder: Path, to: Path, **changes: Any) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    (to / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    return to


def test_a_transformer_becomes_what_mlx_lm_makes_of_it(hub_folder: Path, tmp_path: Path) -> None:
    report = convert_checkpoint(hub_folder, tmp_path / "out", quantize=8, dtype="float16")
    assert report.family == "mlx-lm: llama"
    assert isinstance(report.config, TransformerConfig)
    assert report.config.to_dict()["quantization"] == {"group_size": 64, "bits": 8, "mode": "affine"}
    assert report.config.to_dict() == json.loads((tmp_path / "out" / "config.json").read_text())
    assert "auto_map" not in report.config.to_dict()
    assert report.bytes == (tmp_path / "out" / "model.safetensors").stat().st_size < report.source_bytes / 3
    assert {file.parent for file in report.files} == {hub_folder}
    # No code and nothing half made lies in the folder.
    assert not list((tmp_path / "out").glob("*.py"))
    assert all(path.is_file() for path in (tmp_path / "out").iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    model, tokenizer = mlx_lm.load(str(tmp_path / "out"))
    original, _ = mlx_lm.load(str(hub_folder))
    assert report.parameters == sum(array.size for _, array in tree_flatten(original.parameters()))
    ids = mx.array([tokenizer.encode("The package")])
    want = np.array(original(ids), np.float32)
    np.testing.assert_allclose(np.array(model(ids).astype(mx.float32)), want, atol=0.05 * np.abs(want).max())
    assert len(mlx_lm.generate(model, tokenizer, "The package", max_tokens=4)) > 0


def test_one_that_needs_code_of_its_own_is_refused(hub_folder: Path, tmp_path: Path) -> None:
    source = copy_of(hub_folder, tmp_path / "source", model_file="modeling_evil.py")
    with pytest.raises(ConversionError, match=r"runs only with code that comes with it .model_file is 'modeling_evil"):
        convert_checkpoint(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_mlx_lm_refuses_is_one_line(hub_folder: Path, tmp_path: Path) -> None:
    source = copy_of(hub_folder, tmp_path / "source", num_hidden_layers=3)
    with pytest.raises(
        ConversionError, match=r"mlx-lm cannot convert source: ValueError: Missing .* parameters"
    ) as caught:
        convert_checkpoint(source, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_type_that_mlx_lm_does_not_know_is_refused(hub_folder: Path, tmp_path: Path) -> None:
    source = copy_of(hub_folder, tmp_path / "source", model_type="novel")
    with pytest.raises(MixerError, match="transformer"):
        convert_checkpoint(source, tmp_path / "out")


def test_damaged_weights_never_reach_mlx_lm(hub_folder: Path, tmp_path: Path) -> None:
    source = copy_of(hub_folder, tmp_path / "source")
    file = source / "model-00001-of-00002.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(ConversionError, match="was cut off"):
        convert_checkpoint(source, tmp_path / "out")
