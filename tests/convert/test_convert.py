"""What a conversion writes, and that it writes all of it or nothing."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from convert import ConversionReport, convert_checkpoint
from mlx_mixer.checkpoint import load_config, load_model
from mlx_mixer.config_fields import Provenance
from mlx_mixer.errors import ConversionError, MixerError, UsageError
from tests.convert.files import flat_state, write_safetensors, write_torch
from tests.convert.golden import GOLDEN, checkpoint


def convert_state(state: dict[str, Any], folder: Path, **hints: Any) -> ConversionReport:
    return convert_checkpoint(write_safetensors(folder / "m.safetensors", state), folder / "out", **hints)


def assert_nothing_written(folder: Path) -> None:
    assert [path.name for path in folder.iterdir() if path.suffix not in (".safetensors", ".bin")] == []


def test_a_report_says_what_was_done(tmp_path: Path) -> None:
    report = convert_state(flat_state(), tmp_path, padding_side="left", embedding_position=-2, pad_token_id=1)
    assert report.family == "flat"
    assert report.out == tmp_path / "out"
    assert report.files == (tmp_path / "m.safetensors",)
    assert report.parameters == sum(array.size for array in flat_state().values())
    assert 0 < report.seconds < 60
    assert len(report.warnings) == 1
    assert "no tokenizer" in report.warnings[0]


def test_hints_and_provenance_are_kept_in_the_config(tmp_path: Path) -> None:
    hints = {"padding_side": "left", "embedding_position": -2, "pad_token_id": 1, "temperature": 0.02}
    report = convert_state(flat_state(), tmp_path, **hints)
    config = load_config(tmp_path / "out")
    assert config == report.config
    assert {name: getattr(config, name) for name in hints} == hints
    assert config.provenance is not None
    assert config.provenance.source == "m.safetensors"
    assert config.provenance.family == "flat"
    assert config.provenance.hints == hints
    assert list(config.provenance.sha256) == ["m.safetensors"]
    assert len(config.provenance.sha256["m.safetensors"]) == 64


def test_a_folder_is_known_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    write_safetensors(tmp_path / "run" / "model.safetensors", flat_state())
    monkeypatch.chdir(tmp_path / "run")
    config = convert_checkpoint(".", tmp_path / "out").config
    assert config.provenance is not None
    assert config.provenance.source == "run"


def test_every_shard_is_in_the_provenance(tmp_path: Path) -> None:
    config = convert_checkpoint(GOLDEN / "flat_sharded_bin", tmp_path / "out").config
    assert isinstance(config.provenance, Provenance)
    assert sorted(config.provenance.sha256) == [
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model-00002-of-00002.bin",
    ]


@pytest.mark.parametrize("name", ["flat_unmasked", "flat_residue", "kernel4", "headed_h4", "headed_legacy_h2"])
def test_nothing_is_left_above_the_diagonal(name: str, tmp_path: Path) -> None:
    convert_checkpoint(checkpoint(name), tmp_path / "out")
    weights = load_file(tmp_path / "out" / "model.safetensors")
    mixing = {key: array for key, array in weights.items() if key.endswith("token_mixing.weight")}
    assert mixing
    for array in mixing.values():
        assert not np.triu(array, 1).any()
        assert np.tril(array).any()


def test_rectangles_are_masked_as_they_are(tmp_path: Path) -> None:
    convert_checkpoint(checkpoint("expanded_x2"), tmp_path / "out")
    weights = load_file(tmp_path / "out" / "model.safetensors")
    for part in ("inner", "outer"):
        array = weights[f"layers.0.token_mixing.{part}_weight"]
        assert array.shape[0] != array.shape[1]
        np.testing.assert_array_equal(array, np.tril(array))


@pytest.mark.parametrize("name", ["flat_fp16", "flat_bf16"])
def test_half_precision_is_up_cast(name: str, tmp_path: Path) -> None:
    convert_checkpoint(checkpoint(name), tmp_path / "out")
    assert {array.dtype for array in load_file(tmp_path / "out" / "model.safetensors").values()} == {np.dtype("f4")}


@given(
    seed=st.integers(0, 1000),
    vocab=st.integers(1, 9),
    dims=st.integers(1, 6),
    length=st.integers(1, 6),
    layers=st.integers(1, 3),
    inner=st.integers(1, 9),
)
@settings(max_examples=25, deadline=None)
def test_a_model_of_any_size_keeps_its_numbers(
    seed: int, tmp_path_factory: pytest.TempPathFactory, **sizes: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    state = flat_state(seed=seed, **sizes)
    convert_state(state, folder)
    weights = load_file(folder / "out" / "model.safetensors")
    np.testing.assert_array_equal(weights["embed_tokens.weight"], state["wte.weight"])
    last = sizes["layers"] - 1
    np.testing.assert_array_equal(
        weights[f"layers.{last}.token_mixing.weight"][0], np.tril(state[f"mixerblocks.{last}.conv.weight"][:, :, 0])
    )
    np.testing.assert_array_equal(
        weights[f"layers.{last}.channel_mixing.down.weight"], state[f"mixerblocks.{last}.patch_ff.2.weight"]
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["wte.weight", "mixerblocks.1.conv.weight", "mixerblocks.0.patch_ff.0.bias"])
def test_weights_that_are_not_finite_are_refused(name: str, value: float, tmp_path: Path) -> None:
    state = flat_state()
    state[name].flat[0] = value
    with pytest.raises(ConversionError, match=name.replace(".", r"\.")):
        convert_state(state, tmp_path)
    assert_nothing_written(tmp_path)


def test_weights_too_large_for_float32_are_refused(tmp_path: Path) -> None:
    state: dict[str, Any] = flat_state()
    state["mixerblocks.0.conv.bias"] = np.full(6, 1e39)
    with pytest.raises(ConversionError, match="infinite"):
        convert_state(state, tmp_path)
    assert_nothing_written(tmp_path)


def test_a_model_that_computes_nonsense_is_refused(tmp_path: Path) -> None:
    state = flat_state()
    state["lm_head.weight"][:] = 3e38
    with pytest.raises(ConversionError, match="computes NaN or infinite"):
        convert_state(state, tmp_path)
    assert_nothing_written(tmp_path)


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="already exists"):
        convert_state(flat_state(), tmp_path)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    convert_state(flat_state(), tmp_path)
    assert load_model(tmp_path / "out").config.vocab_size == 12


def test_a_refusal_makes_no_parent_folders(tmp_path: Path) -> None:
    with pytest.raises(MixerError):
        convert_checkpoint(checkpoint("memory_token"), tmp_path / "deep" / "out")
    assert not (tmp_path / "deep").exists()


def test_what_was_converted_is_not_converted_again(tmp_path: Path) -> None:
    convert_state(flat_state(), tmp_path)
    with pytest.raises(MixerError, match="needs no conversion"):
        convert_checkpoint(tmp_path / "out", tmp_path / "again")


def test_the_source_is_only_read(tmp_path: Path) -> None:
    source = write_torch(tmp_path / "m.bin", flat_state())
    before = (source.read_bytes(), source.stat().st_mtime_ns)
    source.chmod(0o400)
    convert_checkpoint(source, tmp_path / "out")
    assert (source.read_bytes(), source.stat().st_mtime_ns) == before


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        ({"paddingside": "left"}, "did you mean 'padding_side'"),
        ({"embedding_index": -2}, "did you mean 'embedding_position'"),
        ({"zzz": 1}, "known: mixer"),
        ({"padding_side": "middle"}, "left, right"),
        ({"decoder_input": "loop"}, "repeat, unroll"),
        ({"mixer": "attention"}, "headed_legacy"),
        ({"decay_constant": 0}, "above 0"),
        ({"decay_constant": float("nan")}, "above 0"),
        ({"temperature": -0.02}, "temperature is -0.02; it must be a number above 0"),
        ({"embedding_position": 1.5}, "whole number"),
        ({"pad_token_id": True}, "whole number"),
        ({"use_projections": "yes"}, "True, False"),
        ({"tokenizer": 3}, "a path"),
    ],
)
def test_wrong_hints_are_wrong_use(hints: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        convert_state(flat_state(), tmp_path, **hints)
    assert_nothing_written(tmp_path)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    source = write_safetensors(tmp_path / "m.safetensors", flat_state())
    with pytest.raises(ConversionError, match="cannot be written"):
        convert_checkpoint(source, source / "out")


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on the size of files")
def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    source = write_safetensors(tmp_path / "m.safetensors", flat_state(vocab=4000))
    code = (
        "import resource, sys\n"
        "from convert import convert_checkpoint\n"
        "from mlx_mixer.errors import ConversionError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try:\n    convert_checkpoint(*sys.argv[1:])\n"
        "except ConversionError as error:\n    sys.exit(str(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, source, tmp_path / "out"], capture_output=True, text=True)
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert_nothing_written(tmp_path)


KILLED = """
import sys
from convert import convert_checkpoint
print("ready", flush=True)
convert_checkpoint(sys.argv[1], sys.argv[2])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_conversion_leaves_nothing_that_looks_like_a_model(tmp_path: Path) -> None:
    """Killed at moments spread over the whole run, the folder is either absent or complete."""
    source = write_safetensors(tmp_path / "m.safetensors", flat_state(vocab=4000, dims=256, length=256, inner=1024))
    started = time.monotonic()
    convert_checkpoint(source, tmp_path / "whole")
    seconds = time.monotonic() - started
    killed = 0
    for attempt in range(10):
        out = tmp_path / f"out{attempt}"
        child = subprocess.Popen([sys.executable, "-c", KILLED, source, out], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(attempt / 8 * seconds)
        child.send_signal(signal.SIGKILL)
        killed += child.wait() == -signal.SIGKILL
        child.stdout.close()
        if out.exists():
            mx.eval(load_model(out).parameters())
        visible = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
        assert visible <= {"m.safetensors", "whole", *(f"out{index}" for index in range(attempt + 1))}
    assert killed >= 2
    # What a killed run leaves is hidden and in nobody's way.
    convert_checkpoint(source, tmp_path / "out-last")
