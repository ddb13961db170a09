"""From a checkpoint to a model folder and back: every tensor that the network uses has its bits again."""

import re
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file, save_file

from convert import convert_checkpoint
from convert.hints import Hints
from convert.plan import plan_conversion
from convert.proof.reference.networks import network
from convert.proof.reference.source import Source
from convert.sources.containers import open_checkpoint
from convert.upstream.to_torch import TorchReport, write_torch_checkpoint
from mlx_mixer.checkpoint import default_model_path, load_config, load_model, save_model
from mlx_mixer.errors import CheckpointError, UnsupportedModelError, UsageError
from mlx_mixer.quantization import cast_model, quantize_model
from tests.convert.files import write_safetensors
from tests.convert.golden import CASES, checkpoint, expected, needed_hints
from tests.convert.reference_forms import form_of
from tests.convert.structured_files import heads, single, structured_state

CONVERTIBLE = [name for name, case in CASES.items() if "io" in case]
# What a forward pass never reads is not kept; where it shares a tensor with what is read, that comes back another way.
NOT_BIT_EQUAL = {
    "headed_legacy_h2": r"conv\.convs\.0\.|conv\.out_proj\.weight",
    "srm_kernel4_decay": r"decay_value",
    "srm_parallel_decay": r"decay_value",
}


def back(name: str, folder: Path, **hints: Any) -> TorchReport:
    convert_checkpoint(checkpoint(name), folder / "ours", verify=False, **{**needed_hints(name), **hints})
    return write_torch_checkpoint(folder / "ours", folder / "theirs")


def current_name(stored: str) -> str:
    """The name that upstream's present code has for a tensor that a Dropout or another attribute once renamed."""
    stored = re.sub(r"(patch_ff|channel_mixing_layer)\.3\.", r"\1.2.", stored)
    return stored.replace(".mixerhead.", ".conv.")


def as_upstream_reads_it(name: str, array: npt.NDArray[np.float32], *, is_causal: bool) -> npt.NDArray[np.float32]:
    """A stored tensor after the mask that upstream's forward pass applies to it, bit by bit."""
    if not re.search(r"conv[fr]?\.((convs\.)?\d+\.)?weight$", name):
        return array
    array = array.reshape(*array.shape[:2], -1)  # a linear map over positions has no third axis
    rows, columns = np.arange(array.shape[0])[:, None], np.arange(array.shape[1])[None]
    kept = columns >= rows + 2 if "convr" in name else columns <= rows
    return np.where(kept[..., None] | (not is_causal), array, np.float32(0))


def bits(array: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    return np.ascontiguousarray(array).view(np.uint32)


@pytest.mark.parametrize("name", CONVERTIBLE)
def test_every_tensor_in_use_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    back(name, tmp_path)
    is_causal = name != "retrieval_mixer"
    with open_checkpoint(checkpoint(name)) as source, open_checkpoint(tmp_path / "theirs") as written:
        plan = plan_conversion(source, checkpoint(name), Hints.from_mapping(needed_hints(name)))
        kept = [stored for entry in plan.assignments for stored in entry.stored]
        assert kept
        for stored in kept:
            ours = current_name(stored)
            if re.search(NOT_BIT_EQUAL.get(name, "^$"), ours):
                continue
            want = as_upstream_reads_it(stored, source.read(stored), is_causal=is_causal)
            got = written.read(ours)
            np.testing.assert_array_equal(bits(got).ravel(), bits(want).ravel(), err_msg=ours)
            assert written.tensors[ours].dtype == "F32"


@pytest.mark.parametrize("name", CONVERTIBLE)
def test_names_and_shapes_are_those_of_upstream(name: str, tmp_path: Path) -> None:
    report = back(name, tmp_path)
    with open_checkpoint(checkpoint(name)) as source, open_checkpoint(tmp_path / "theirs") as written:
        known = {current_name(stored): info.shape for stored, info in source.tensors.items()}
        assert len(written.tensors) == report.tensors
        assert written.is_wrapped == (name == "infonce_autoencoder")
        for stored, info in written.tensors.items():
            if stored not in known:
                assert stored in ("lm_head.weight", "wte.weight")  # tied: the source names it once
            elif not (name == "flat_linear2d" and stored.endswith("conv.weight")):
                assert info.shape == known[stored], stored


@pytest.mark.parametrize("name", CONVERTIBLE)
def test_upstreams_equations_give_the_same_results_on_what_was_written(name: str, tmp_path: Path) -> None:
    io = expected(name)
    back(name, tmp_path)
    with open_checkpoint(tmp_path / "theirs") as written:
        stages = network(Source(written.tensors, written.read), form_of(name)).stages(
            io.get("inputs", io.get("input_ids"))
        )
    compared = [stage for stage in ("hidden", "hidden_forward", "logits", "scores") if stage in io]
    assert compared
    for stage in compared:
        np.testing.assert_allclose(stages[stage], io[stage], **CASES[name]["tolerance"], err_msg=stage)


@pytest.mark.parametrize("name", CONVERTIBLE)
def test_converting_what_was_written_gives_the_same_model(name: str, tmp_path: Path) -> None:
    report = back(name, tmp_path, padding_side="left", pad_token_id=1) if name == "flat" else back(name, tmp_path)
    convert_checkpoint(tmp_path / "theirs", tmp_path / "again", verify=False, **report.hints)
    first, again = (load_config(tmp_path / folder).to_dict() for folder in ("ours", "again"))
    assert {**first, "provenance": None} == {**again, "provenance": None}
    weights, same = (load_file(tmp_path / folder / "model.safetensors") for folder in ("ours", "again"))
    assert weights.keys() == same.keys()
    for target, array in weights.items():
        assert array.tobytes() == same[target].tobytes(), target


@pytest.mark.parametrize(
    ("tensors", "kind"),
    [
        (single(decay=(1,)), "row"),
        (single(), "toeplitz"),
        (single(2, decay=(2, 1)), "combined"),
        (single(decay=(1,), diagonal=(1, 0)), "diag_row"),
        (single(diagonal=(1,)), "diag_col"),
        (heads(2, 2, decay=(2, 1)), "combined_heads"),
        (heads(4, decay=(1,), diagonal=(1,)), "diag_heads"),
        (heads(2, diagonal=(1, 0)), "diag_heads"),
    ],
)
def test_every_structured_tensor_comes_back(tensors: dict[str, tuple[int, ...]], kind: str, tmp_path: Path) -> None:
    state = structured_state(tensors)
    write_safetensors(tmp_path / "m.safetensors", state)
    convert_checkpoint(tmp_path / "m.safetensors", tmp_path / "ours", mixer=kind)
    report = write_torch_checkpoint(tmp_path / "ours", tmp_path / "theirs")
    assert report.hints["mixer"] == kind
    written = load_file(tmp_path / "theirs" / "model.safetensors")
    assert written.keys() == state.keys()
    for name, array in state.items():
        assert written[name].shape == array.shape, name
        assert written[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
def test_half_precision_keeps_its_dtype_and_bits(dtype: mx.Dtype, tmp_path: Path) -> None:
    convert_checkpoint(checkpoint("headed_h4"), tmp_path / "full")
    model = load_model(tmp_path / "full")
    cast_model(model, dtype)
    (tmp_path / "ours").mkdir()
    save_model(tmp_path / "ours", model)
    write_torch_checkpoint(tmp_path / "ours", tmp_path / "theirs")
    written = mx.load(str(tmp_path / "theirs" / "model.safetensors"))
    assert isinstance(written, dict)
    assert {array.dtype for array in written.values()} == {dtype}
    head = model.layers[1].token_mixing.weight[3].view(mx.uint16)
    assert mx.array_equal(written["mixerblocks.1.conv.convs.3.weight"].view(mx.uint16), head.transpose(1, 2, 0))


def test_a_card_says_what_was_written_and_how_to_convert_it_again(tmp_path: Path) -> None:
    back("srm_mixed_decay_c2", tmp_path)
    card = (tmp_path / "theirs" / "README.md").read_text(encoding="utf-8")
    assert "MLPMixer in mrm/repeat_main.py" in card
    assert "mlx-mixer convert . --out MODEL --mixer mixed_heads --decay-constant 2.0\n" in card
    assert CASES["srm_mixed_decay_c2"]["files"]["srm_mixed_decay_c2.safetensors"]["sha256"] in card


def test_tokenizers_go_along(tmp_path: Path) -> None:
    convert_checkpoint(checkpoint("flat"), tmp_path / "ours")
    (tmp_path / "ours" / "tokenizer.json").write_text("{}")
    write_torch_checkpoint(tmp_path / "ours", tmp_path / "theirs")
    assert sorted(path.name for path in (tmp_path / "theirs").iterdir()) == [
        "README.md",
        "model.safetensors",
        "tokenizer.json",
    ]


def test_a_model_that_was_trained_here_has_a_way_too(tmp_path: Path) -> None:
    """The bundled model: its pooling, which upstream has no place for, is left out, and that is said."""
    model = load_model(default_model_path(), as_stored=False)
    (tmp_path / "whole").mkdir()
    save_model(tmp_path / "whole", model)
    report = write_torch_checkpoint(tmp_path / "whole", tmp_path / "theirs")
    assert report.family == "flat"
    assert report.warnings
    assert all(warning.startswith("pooling.") for warning in report.warnings)
    assert convert_checkpoint(tmp_path / "theirs", tmp_path / "again").family == "flat"
    ids = mx.arange(40)[None]
    logits = [each(ids) for each in (model, load_model(tmp_path / "again"))]
    np.testing.assert_array_equal(np.array(logits[0]), np.array(logits[1]))


def test_quantised_weights_have_no_way_back(tmp_path: Path) -> None:
    convert_checkpoint(checkpoint("flat"), tmp_path / "full")
    model = load_model(tmp_path / "full")
    quantize_model(model, 8)
    (tmp_path / "ours").mkdir()
    save_model(tmp_path / "ours", model)
    with pytest.raises(UnsupportedModelError, match="quantised to 8 bits"):
        write_torch_checkpoint(tmp_path / "ours", tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists()


@pytest.mark.parametrize(
    ("field", "value"), [("activation", "silu"), ("block_order", "channel_then_token"), ("norm_eps", 1e-6)]
)
def test_what_no_upstream_network_computes_is_refused(field: str, value: Any, tmp_path: Path) -> None:
    convert_checkpoint(checkpoint("flat"), tmp_path / "ours")
    config = tmp_path / "ours" / "config.json"
    config.write_text(re.sub(rf'"{field}": [^,]+,', f'"{field}": {value!r},'.replace("'", '"'), config.read_text()))
    with pytest.raises(UnsupportedModelError, match=field):
        write_torch_checkpoint(tmp_path / "ours", tmp_path / "theirs")


@pytest.mark.parametrize("damage", ["missing", "strange", "shape", "heads"])
def test_a_damaged_folder_is_refused(damage: str, tmp_path: Path) -> None:
    convert_checkpoint(checkpoint("headed_h4"), tmp_path / "ours", verify=False)
    file = tmp_path / "ours" / "model.safetensors"
    weights = load_file(file)
    match damage:
        case "missing":
            del weights["layers.1.token_norm.bias"]
        case "strange":
            weights["strange"] = np.zeros(3, np.float32)
        case "shape":
            weights["layers.1.token_norm.bias"] = np.zeros(3, np.float32)
        case "heads":
            weights["layers.1.token_mixing.weight"] = weights["layers.1.token_mixing.weight"][:3]
    save_file(weights, file)
    with pytest.raises(CheckpointError, match=r"do not fit its config\.json") as caught:
        write_torch_checkpoint(tmp_path / "ours", tmp_path / "theirs")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "theirs").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    back("flat", tmp_path)
    with pytest.raises(UsageError, match="already exists"):
        write_torch_checkpoint(tmp_path / "ours", tmp_path / "theirs")
