"""Weights in any precision, in files of any size, from checkpoints and from model folders."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import mlx.core as mx
import mlx_lm
import numpy as np
import pytest
from mlx.utils import tree_flatten
from safetensors.numpy import load_file

from convert import convert_checkpoint, room
from convert.sources import file_stream
from mlx_mixer.checkpoint import load, load_config, load_model, load_tokenizer, save_model
from mlx_mixer.config_fields import Provenance, Quantization
from mlx_mixer.errors import ConversionError, MixerError, ModelNotFoundError, ResourceError, UsageError
from mlx_mixer.models.kinds import Model
from mlx_mixer.paths import default_paths
from mlx_mixer.quantization import cast_model, quantize_model
from tests.convert.files import flat_state, write_safetensors, write_torch
from tests.convert.golden import checkpoint
from tests.tiny import byte_tokenizer, tiny_model_folder

SIZES = {"vocab": 300, "dims": 64, "length": 16, "layers": 2, "inner": 128}
HEAD, UP, MIXING = "lm_head.weight", "layers.1.channel_mixing.up.weight", "layers.0.token_mixing.weight"


@pytest.fixture
def state() -> dict[str, Any]:
    """Of a model with mild opinions: perplexities of strong random ones say nothing about rounding."""
    state = flat_state(**SIZES)
    state["lm_head.weight"] *= 0.1
    return state


def weights_of(folder: Path) -> dict[str, mx.array]:
    return {
        name: array for file in folder.glob("model*.safetensors") for name, array in dict(mx.load(str(file))).items()
    }  # type: ignore[arg-type]


def parameters(model: Model) -> dict[str, Any]:
    return {name: np.array(array) for name, array in tree_flatten(model.parameters())}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("write", [write_safetensors, write_torch])
def test_a_checkpoint_is_stored_in_the_precision_asked_for(
    dtype: str, write: Any, state: dict[str, Any], tmp_path: Path
) -> None:
    convert_checkpoint(write(tmp_path / "m.bin", state), tmp_path / "plain")
    report = convert_checkpoint(tmp_path / "m.bin", tmp_path / "out", dtype=dtype)
    got, want = weights_of(tmp_path / "out"), weights_of(tmp_path / "plain")
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert mx.array_equal(got[name], array.astype(getattr(mx, dtype)))
    assert report.parameters == sum(array.size for array in want.values())
    assert report.bytes == (tmp_path / "out" / "model.safetensors").stat().st_size
    assert report.source_bytes == (tmp_path / "m.bin").stat().st_size


def test_pieces_of_any_size_give_the_same_bytes(
    state: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_safetensors(tmp_path / "m.safetensors", state)
    for number, size in enumerate((1 << 22, 1000, 64)):
        monkeypatch.setattr(file_stream, "PIECE_BYTES", size)
        convert_checkpoint(source, tmp_path / str(number), quantize=4, verify=False)
    first, *others = ((tmp_path / str(number) / "model.safetensors").read_bytes() for number in range(3))
    assert others == [first, first]


@pytest.mark.parametrize("bits", [8, 4])
def test_a_quantised_checkpoint_is_what_mlx_quantises(bits: int, state: dict[str, Any], tmp_path: Path) -> None:
    source = write_safetensors(tmp_path / "m.safetensors", state)
    report = convert_checkpoint(source, tmp_path / "out", quantize=bits, dtype="float32")
    assert report.config == load_config(tmp_path / "out")
    assert load_config(tmp_path / "out").quantization == Quantization(bits=bits, group_size=64)
    convert_checkpoint(source, tmp_path / "plain")
    model = load_model(tmp_path / "plain")
    quantize_model(model, bits)
    want = dict(tree_flatten(model.parameters()))
    got = weights_of(tmp_path / "out")
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_array_equal(np.array(got[name]), np.array(array))
    assert report.verification is not None
    assert 0 < report.verification.max_error < report.verification.tolerance


def test_beside_quantised_matrices_half_precision_is_the_default(state: dict[str, Any], tmp_path: Path) -> None:
    convert_checkpoint(write_safetensors(tmp_path / "m.safetensors", state), tmp_path / "out", quantize=8)
    weights = weights_of(tmp_path / "out")
    assert weights[HEAD].dtype == mx.uint32
    assert weights[MIXING].dtype == weights["lm_head.scales"].dtype == mx.float16


def test_bfloat16_stays_what_it_is_beside_quantised_matrices(tmp_path: Path) -> None:
    convert_checkpoint(checkpoint("flat_bf16"), tmp_path / "out", quantize=8)
    assert weights_of(tmp_path / "out")[MIXING].dtype == mx.bfloat16


def test_decays_keep_their_digits(tmp_path: Path) -> None:
    convert_checkpoint(
        checkpoint("srm_mixed_decay"), tmp_path / "out", dtype="bfloat16", decay_constant=2.0, mixer="mixed_heads"
    )
    weights = weights_of(tmp_path / "out")
    assert weights["layers.0.token_mixing.decay"].dtype == mx.float32
    assert weights["layers.0.token_mixing.weight"].dtype == mx.bfloat16


def test_the_quantised_folder_is_generated_from_by_mlx_lm(state: dict[str, Any], tmp_path: Path) -> None:
    byte_tokenizer().save(str(tmp_path / "tokenizer.json"))
    source = write_safetensors(tmp_path / "m.safetensors", state)
    convert_checkpoint(source, tmp_path / "out", quantize=8)
    model, tokenizer = load_model(tmp_path / "out", as_stored=True), load_tokenizer(tmp_path / "out")
    assert mlx_lm.generate(model, tokenizer, "abc", max_tokens=3) is not None


def test_shards_are_read_by_the_reference_library_and_by_us(state: dict[str, Any], tmp_path: Path) -> None:
    source = write_safetensors(tmp_path / "m.safetensors", state)
    report = convert_checkpoint(source, tmp_path / "out", max_shard_bytes=60_000)
    files = sorted(path.name for path in (tmp_path / "out").glob("*.safetensors"))
    assert len(files) > 2
    assert report.bytes == sum((tmp_path / "out" / file).stat().st_size for file in files)
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert sorted(set(index["weight_map"].values())) == files
    convert_checkpoint(source, tmp_path / "whole")
    whole = load_file(tmp_path / "whole" / "model.safetensors")
    for name, file in index["weight_map"].items():
        np.testing.assert_array_equal(load_file(tmp_path / "out" / file)[name], whole[name])
    np.testing.assert_array_equal(parameters(load_model(tmp_path / "out"))[UP], whole[UP])


def test_numbers_beyond_float16_are_said(state: dict[str, Any], tmp_path: Path) -> None:
    state["lm_head.weight"][3, 3] = 7e4
    source = write_safetensors(tmp_path / "m.safetensors", state)
    with pytest.raises(ConversionError, match=r"lm_head\.weight holds numbers beyond float16's 65,504; give --dtype"):
        convert_checkpoint(source, tmp_path / "out", dtype="float16")
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]
    convert_checkpoint(source, tmp_path / "out", dtype="bfloat16", verify=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantize": 3}, "quantize is 3; it must be 4 or 8"),
        ({"quantize": True}, "quantize is True"),
        ({"dtype": "int8"}, "dtype is 'int8'; it must be one of float32, float16, bfloat16"),
    ],
)
def test_what_cannot_be_stored_is_wrong_use(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        convert_checkpoint(checkpoint("flat"), tmp_path / "out", **options)


def test_a_width_without_groups_is_wrong_use(tmp_path: Path) -> None:
    source = write_safetensors(tmp_path / "m.safetensors", flat_state())
    with pytest.raises(UsageError, match="does not divide into groups of 32"):
        convert_checkpoint(source, tmp_path / "out", quantize=4)
    assert not (tmp_path / "out").exists()


def test_progress_runs_up_to_the_size_of_the_source(state: dict[str, Any], tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    source = write_torch(tmp_path / "m.bin", state)
    convert_checkpoint(source, tmp_path / "out", progress=lambda done, total: calls.append((done, total)))
    total = sum(array.nbytes for array in state.values())
    assert calls[-1] == (total, total)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_disk_without_room_is_said_before_anything_is_written(
    state: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9 - 10**6, 10**6))
    source = write_safetensors(tmp_path / "m.safetensors", state)
    with pytest.raises(ResourceError, match=r"the model takes 0\.\d MB and .* has 1\.0 MB free") as caught:
        convert_checkpoint(source, tmp_path / "deep" / "out")
    assert caught.value.exit_code == 4
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_model_too_large_to_verify_is_said_before_anything_is_written(
    state: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "free_memory", lambda: 100_000)
    source = write_safetensors(tmp_path / "m.safetensors", state)
    with pytest.raises(ResourceError, match=r"takes 0\.\d MB of memory and 0\.1 MB are free; .*--no-verify"):
        convert_checkpoint(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]
    convert_checkpoint(source, tmp_path / "out", verify=False)


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says")
def test_free_memory_is_no_more_than_there_is() -> None:
    free = room.free_memory()
    assert free is not None
    assert 10**7 < free <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


# -- model folders --


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tiny_model_folder(
        tmp_path / "mine", hidden_size=64, intermediate_size=96, token_mixing="headed", num_heads=2
    )
    (made / "LICENSE").write_text("free")
    model = load_model(made, as_stored=True)
    model.lm_head.weight = model.lm_head.weight * 0.03
    save_model(made, model)
    return made


def test_a_model_folder_is_quantised_with_its_words_and_origin(folder: Path, tmp_path: Path) -> None:
    origin = Provenance(source="far", family="headed", revision="abc", sha256={"x": "y"})
    model = load_model(folder, as_stored=True)
    config = type(model.config).from_dict({**model.config.to_dict(), "provenance": vars(origin)})
    save_model(folder, model, config=config)
    report = convert_checkpoint(folder, tmp_path / "small", quantize=4)
    assert report.family == "mlx-mixer"
    assert report.config == load_config(tmp_path / "small")
    assert load_config(tmp_path / "small").provenance == origin
    kept = {path.name for path in (tmp_path / "small").iterdir()}
    assert kept == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "LICENSE"}
    quantize_model(model, 4)
    got = parameters(load_model(tmp_path / "small"))
    for name in ("lm_head", "layers.0.token_mixing.in_proj"):
        want = mx.dequantize(
            *(dict(tree_flatten(model.parameters()))[f"{name}.{part}"] for part in ("weight", "scales", "biases")),
            group_size=64,
            bits=4,
        )
        np.testing.assert_allclose(got[f"{name}.weight"], np.array(want), atol=2e-3 * np.abs(np.array(want)).max())
    _, tokenizer = load(tmp_path / "small")
    assert tokenizer.decode(tokenizer.encode("abc")) == "abc"
    assert report.verification is not None
    assert report.verification.perplexity_source != report.verification.perplexity_converted


def test_a_model_is_found_by_its_name(tmp_path: Path) -> None:
    tiny_model_folder(default_paths().models / "mine")
    convert_checkpoint("mine", tmp_path / "half", dtype="float16")
    assert weights_of(tmp_path / "half")[HEAD].dtype == mx.float16
    with pytest.raises(ModelNotFoundError, match="there is no file or folder nobodys"):
        convert_checkpoint("nobodys", tmp_path / "other", dtype="float16")
    with pytest.raises(MixerError, match="xxxx"):
        convert_checkpoint("x" * 5000, tmp_path / "other", dtype="float16")


def test_a_folder_of_unknown_origin_is_its_own(folder: Path, tmp_path: Path) -> None:
    config = convert_checkpoint(folder, tmp_path / "half", dtype="bfloat16").config
    assert config.to_dict()["provenance"]["source"] == "mine"
    for name, array in weights_of(folder).items():
        assert mx.array_equal(weights_of(tmp_path / "half")[name], array.astype(mx.bfloat16))


def test_a_quantised_folder_is_unpacked(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder, as_stored=True)
    cast_model(model, mx.float16)
    quantize_model(model, 8)
    save_model(folder, model)
    report = convert_checkpoint(folder, tmp_path / "plain", dtype="float32")
    assert load_config(tmp_path / "plain").quantization is None
    for name, array in parameters(load_model(folder, as_stored=False)).items():
        np.testing.assert_array_equal(load_file(tmp_path / "plain" / "model.safetensors")[name], array)
    assert report.warnings == ()
    again = convert_checkpoint(folder, tmp_path / "less", quantize=4)
    assert "was quantised to 8 bits already" in again.warnings[0]
    assert load_config(tmp_path / "less").quantization == Quantization(bits=4, group_size=64)


def test_a_folder_that_is_asked_nothing_is_left_alone(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MixerError, match=r"needs no conversion|use it as it is"):
        convert_checkpoint(folder, tmp_path / "again")


MEASURED = """
import json, sys
from convert import convert_checkpoint
import convert.convert
from convert.memory_peak import MemoryPeak
with MemoryPeak() as peak:
    convert_checkpoint(sys.argv[1], sys.argv[2], verify=False)
print(peak.added)
"""


def test_memory_stays_near_the_size_of_one_file(tmp_path: Path) -> None:
    """Two files of about 35 MB: neither both of them, nor two copies of one, are ever held."""
    state = flat_state(vocab=16_000, dims=512, length=64, layers=2, inner=256)
    source = tmp_path / "source"
    source.mkdir()
    names = list(state)
    halves = {"model-00001-of-00002.safetensors": names[:-1], "model-00002-of-00002.safetensors": names[-1:]}
    for file, part in halves.items():
        write_safetensors(source / file, {name: state[name] for name in part})
    index = {"weight_map": {name: file for file, part in halves.items() for name in part}}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    largest = max((source / file).stat().st_size for file in halves)
    assert min((source / file).stat().st_size for file in halves) > 30_000_000
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, source, tmp_path / "out"], capture_output=True, text=True, check=True
    )
    assert 0 < int(done.stdout) < 1.3 * largest
