"""Everything that is taken for a masked mixer and cannot be converted: named for what it is, with what to do instead.

Files are written by the libraries that write them, or byte by byte in the layout that PyTorch writes.
"""

import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save_file

from convert import convert_checkpoint, inspect_checkpoint
from mlx_mixer.errors import MixerError
from tests.convert.files import Call, Name, flat_state, pickled, renamed, torch_bytes, view, write_torch
from tests.convert.structured_files import single, structured_state

State = dict[str, npt.NDArray[Any]]
ONE = np.ones(1, np.float32).tobytes()
TENSOR = view((1,), (1,), elements=1)
VECTORS = np.ones((3, 8), np.float32)
Make = Callable[[Path], Path]


def weights(state: State, name: str = "model.safetensors") -> Make:
    def make(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: np.ascontiguousarray(array) for key, array in state.items()}, path)
        return path

    return make


def raw(name: str, content: bytes) -> Make:
    def make(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return make


def torch(name: str, description: Any) -> Make:
    return raw(name, torch_bytes(description, {"0": ONE}))


def folder_of(*names: str) -> Make:
    """A folder with empty files of these names; a name that ends in "/" is a folder."""

    def make(folder: Path) -> Path:
        for name in names:
            path = folder / "run" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir() if name.endswith("/") else path.touch()
        return folder / "run"

    return make


def archive(name: str, *members: str) -> Make:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for member in members:
            opened.writestr(member, b"")
    return raw(name, buffer.getvalue())


def array(name: str) -> Make:
    def make(folder: Path) -> Path:
        with (folder / name).open("wb") as file:
            (np.savez if name.endswith("z") else np.save)(file, VECTORS)
        return folder / name

    return make


def tar(folder: Path) -> Path:
    path = folder / "old.tar.pt"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as opened:
        opened.addfile(tarfile.TarInfo("storages"))
    return path


def softmax_run(folder: Path) -> Path:
    return weights(flat_state(), "mixer_512_softmax/checkpoint-10/model.safetensors")(folder).parents[1]


def position_column() -> State:
    return {key: np.ones(9, np.float32) if "layernorm" in key else value for key, value in flat_state().items()}


def autoencoder_with(name: str) -> State:
    return {**renamed(flat_state(), "mixerblocks", "encoderblocks"), name: VECTORS}


def expanded_structured() -> State:
    state: State = dict(structured_state(single()))
    for layer in range(2):
        for part, shape in (("0", (1, 6)), ("2", (1, 6))):
            state[f"mixer_blocks.{layer}.token_mixing_layer.{part}.weight"] = np.ones(shape, np.float32)
            state[f"mixer_blocks.{layer}.token_mixing_layer.{part}.bias"] = np.ones(6, np.float32)
        del state[f"mixer_blocks.{layer}.token_mixing_layer.weight"]
    return state


GENERATOR_STATE = pickled({"python": (3, (1, 2)), "cpu": TENSOR})
# What it is, how it is made, words of what is said, and words of what to do instead.
LOOKALIKES: dict[str, tuple[Make, str, str]] = {
    # Beside the weights of a run.
    "optimizer": (
        torch("optimizer.pt", {"state": {}, "param_groups": []}),
        "state of an optimizer",
        "checkpoint folder",
    ),
    "optimizer, renamed": (
        torch("adam.bin", {"state": {}, "param_groups": []}),
        "state of an optimizer",
        "pytorch_model",
    ),
    "optimizer of safetensors": (raw("optimizer.bin", b""), "state of an optimizer", "checkpoint folder"),
    "schedule": (torch("scheduler.pt", {"base_lrs": [0.1]}), "learning-rate schedule", "checkpoint folder"),
    "schedule, renamed": (
        torch("lr.pt", {"base_lrs": [0.1], "last_epoch": 3, "_step_count": 4}),
        "learning-rate schedule",
        "pytorch_model",
    ),
    "scaler": (torch("scaler.pt", {"scale": 1.0}), "gradient scaler", "checkpoint folder"),
    "scaler, renamed": (
        torch("amp.pt", {"scale": 1.0, "growth_factor": 2.0, "backoff_factor": 0.5}),
        "gradient scaler",
        "pytorch_model",
    ),
    "random state": (raw("rng_state.pth", torch_bytes(GENERATOR_STATE, {})), "random number", "checkpoint folder"),
    "random state of a rank": (raw("rng_state_3.pth", b""), "random number", "checkpoint folder"),
    "training arguments": (raw("training_args.bin", b""), "settings of a training run", "checkpoint folder"),
    "trainer state": (raw("trainer_state.json", b"{}"), "log of a training run", "checkpoint folder"),
    "tokenizer": (raw("tokenizer.json", b"{}"), "part of a tokenizer", "checkpoint folder"),
    "special tokens": (raw("special_tokens_map.json", b"{}"), "part of a tokenizer", "checkpoint folder"),
    "configuration": (raw("config.json", b"{}"), "a configuration", "checkpoint folder"),
    "printed module": (raw("model.txt", b"LanguageMixer("), "a configuration", "checkpoint folder"),
    # Distributed checkpoints.
    "FSDP folder": (folder_of("pytorch_model_fsdp_0/"), "FSDP", "accelerate merge-weights"),
    "FSDP step": (folder_of("checkpoint-5/pytorch_model_fsdp_0/"), "FSDP", "accelerate merge-weights"),
    "FSDP shards": (folder_of("__0_0.distcp", ".metadata"), "FSDP", "accelerate merge-weights"),
    "FSDP shard": (raw("__0_0.distcp", b""), "FSDP", "accelerate merge-weights"),
    "FSDP rank": (torch("pytorch_model_fsdp_rank0.bin", {}), "FSDP", "accelerate merge-weights"),
    "DeepSpeed run": (folder_of("global_step100/", "zero_to_fp32.py"), "DeepSpeed", "zero_to_fp32"),
    "DeepSpeed step": (folder_of("mp_rank_00_model_states.pt"), "DeepSpeed", "zero_to_fp32"),
    "DeepSpeed model": (raw("mp_rank_00_model_states.pt", b""), "DeepSpeed", "zero_to_fp32"),
    "DeepSpeed shard": (raw("bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", b""), "DeepSpeed", "zero_to_fp32"),
    "DeepSpeed, renamed": (torch("m.pt", {"module": {"a": TENSOR}, "ds_config": {}}), "DeepSpeed", "zero_to_fp32"),
    # Data that the same code writes.
    "embeddings": (weights({"query": VECTORS, "target": VECTORS}), "embeddings of texts", "checkpoint that made them"),
    "split embeddings": (
        weights({f"{kind}_{part}": VECTORS for kind in ("query", "target") for part in ("train", "test")}),
        "embeddings of texts",
        "checkpoint that made them",
    ),
    "token ids": (weights({"text": np.arange(4), "summary": np.arange(4)}), "token ids", "give a checkpoint"),
    "split token ids": (
        weights({"train_data": np.arange(4), "test_data": np.arange(4)}),
        "token ids",
        "give a checkpoint",
    ),
    # Models of the same code that are not converted.
    "softmax run": (softmax_run, "softmax over its mixing weights", "--mixer flat"),
    "complex numbers": (
        raw(
            "m.bin",
            torch_bytes(
                {"wte.weight": view((1,), (1,), elements=1, storage=Name("torch", "ComplexFloatStorage"))},
                {"0": bytes(8)},
            ),
        ),
        "complex-valued mixer",
        "convert one of the language mixers",
    ),
    "complex layers": (
        weights(renamed(flat_state(), "conv.", "a_layer.")),
        "complex-valued mixer",
        "convert one of the language mixers",
    ),
    "Möbius": (
        weights({**flat_state(), "mixerblocks.0.mobius_ff.weight": VECTORS}),
        "Möbius",
        "convert one of the language mixers",
    ),
    "parallel convolutions": (
        weights(renamed(flat_state(), "conv.", "parallelconvs.convs.0.")),
        "parallel",
        "convert one of the language mixers",
    ),
    "position column": (weights(position_column()), "position column", "convert one of the language mixers"),
    "concatenating": (
        weights({**flat_state(), "mixerblocks.0.token_proj.weight": VECTORS}),
        "concatenating mixer",
        "convert one of the language mixers",
    ),
    "hybrid": (
        weights({**flat_state(), "mixerblocks.1.self_attn.q_proj.weight": VECTORS}),
        "hybrid of a mixer and a transformer",
        "convert one of the language mixers",
    ),
    "hybrid with Llama's names": (
        weights({"model.embed_tokens.weight": VECTORS, "model.layers.0.self_attn.conv.weight": VECTORS}),
        "hybrid of a mixer and a transformer",
        "convert one of the language mixers",
    ),
    "linear without residual": (
        weights(renamed(flat_state(), "patch_ff.2", "patch_ff")),
        "linear mixer",
        "convert one of the language mixers",
    ),
    "linear feed-forward": (
        weights(renamed(flat_state(), "patch_ff.2", "patch_ff.1")),
        "without activation",
        "convert one of the language mixers",
    ),
    "memory": (weights(autoencoder_with("decoder_wte.weight")), "memory mixer", "language mixer or an autoencoder"),
    "frozen memory": (
        weights({**flat_state(), "encoder.model_wte.weight": VECTORS}),
        "memory mixer",
        "language mixer or an autoencoder",
    ),
    "recurrent memory": (
        weights({"decoder_wte.weight": VECTORS, "decoderblocks.0.conv.weight": VECTORS}),
        "memory mixer",
        "language mixer or an autoencoder",
    ),
    "recurrent autoencoder": (
        weights(autoencoder_with("encoderblocks.0.channel_norm.weight")),
        "recurrent autoencoder",
        "language mixer or an autoencoder",
    ),
    "reward": (
        weights({**structured_state(single()), "reward_head.weight": VECTORS[:1]}),
        "reward model",
        "language mixer or an autoencoder",
    ),
    "expanded structured": (weights(expanded_structured()), "expanded structured mixer", "single token mixing"),
    "structured of unknown form": (
        weights({"input_layer.weight": VECTORS, "mixer_blocks.0.token_mixing_layer.x": VECTORS}),
        "unknown form",
        "repeat_main",
    ),
    # Models of other kinds.
    "transformer": (
        weights({"model.layers.0.self_attn.q_proj.weight": VECTORS}, "x.safetensors"),
        "a transformer",
        "with its config.json",
    ),
    "BERT": (
        weights({"bert.encoder.layer.0.attention.self.query.weight": VECTORS}),
        "a transformer",
        "with its config.json",
    ),
    "GPT-2": (weights({"h.0.attn.c_attn.weight": VECTORS}), "a transformer", "with its config.json"),
    "T5": (
        weights({"encoder.block.0.layer.0.SelfAttention.q.weight": VECTORS}),
        "a transformer",
        "with its config.json",
    ),
    "adapter": (
        weights({"base.lora_A.weight": VECTORS, "base.lora_B.weight": VECTORS}),
        "LoRA adapter",
        "merge it into its base model",
    ),
    "adapter folder": (folder_of("adapter_model.safetensors"), "LoRA adapter", "merge it into its base model"),
    "another network": (weights({"layers.0.w": VECTORS}), "no known masked-mixer family", "docs/convert.md"),
    # Files of other formats.
    "GGUF": (raw("m.gguf", b"GGUF" + struct.pack("<IQQ", 3, 0, 0)), "GGUF", "llama.cpp"),
    "GGML": (raw("ggml-model.bin", b"lmgg" + bytes(99)), "GGML", "llama.cpp"),
    "NumPy array": (array("m.npy"), "NumPy array", ".safetensors or .bin"),
    "NumPy archive": (array("m.npz"), "NumPy archive", ".safetensors or .bin"),
    "NumPy archive, renamed": (archive("m.pt", "arr_0.npy"), "NumPy archive", ".safetensors or .bin"),
    "HDF5": (raw("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(99)), "HDF5", ".safetensors or .bin"),
    "Keras": (archive("m.keras", "config.json", "model.weights.h5"), "Keras", ".safetensors or .bin"),
    "ONNX": (raw("m.onnx", b"\x08\x07\x12\x07pytorch" + bytes(99)), "ONNX", ".safetensors or .bin"),
    "Flax": (raw("flax_model.msgpack", b"\x81\xa6params" + bytes(99)), "Flax", ".safetensors or .bin"),
    "TorchScript": (
        archive("m.pt", "m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"),
        "TorchScript",
        "save the state dict",
    ),
    "exported program": (archive("m.pt2", "m/data.pkl"), "torch.export", "save its state dict"),
    "exported program, renamed": (
        archive("m.pt", "m/serialized_exported_program.json"),
        "torch.export",
        "save the state dict",
    ),
    "torch.package": (archive("m.pt", "m/.data/extern_modules", "m/main.py"), "torch.package", "save the state dict"),
    "old torch file": (
        raw("m.pt", pickle.dumps(0x1950A86A20F9469CFC6C, 2) + bytes(99)),
        "before version 1.6",
        "PyTorch",
    ),
    "oldest torch file": (tar, "oldest torch format", "PyTorch"),
    "training checkpoint": (
        torch("m.ckpt.pt", {"epoch": 3, "state_dict": {"a": TENSOR}}),
        "whole training checkpoint",
        "'state_dict'",
    ),
    "list of tensors": (torch("m.pt", [TENSOR]), "a list", "state_dict()"),
    "one tensor": (torch("m.pt", TENSOR), "a single tensor", "state_dict()"),
    "Git LFS pointer": (
        raw("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n"),
        "LFS",
        "git lfs pull",
    ),
    "web page": (raw("model.safetensors", b"<!DOCTYPE html>" + bytes(99)), "web page", "download the file again"),
    "gzip": (raw("m.bin", b"\x1f\x8b\x08" + bytes(99)), "gzip", "unpack"),
    "script": (raw("train.py", b"import torch"), "never run", ".safetensors or .bin"),
}


@pytest.mark.parametrize("name", LOOKALIKES)
def test_a_lookalike_is_named_and_something_else_is_advised(name: str, tmp_path: Path) -> None:
    make, what, advice = LOOKALIKES[name]
    source = make(tmp_path)
    found = inspect_checkpoint(source)
    assert (found.verdict, found.exit_code) == ("refused", 4)
    assert what in found.what
    assert advice in found.advice
    assert json.loads(json.dumps(found.to_dict()))["verdict"] == "refused"
    with pytest.raises(MixerError) as caught:
        convert_checkpoint(source, tmp_path / "out")
    assert what in str(caught.value)
    assert advice in str(caught.value)
    assert str(caught.value).isprintable()
    assert not (tmp_path / "out").exists()


def test_a_pickled_module_is_named_although_its_class_is_unknown(tmp_path: Path) -> None:
    """It cannot be looked into; what is said comes from the one name that stands in it."""
    module = b"\x80\x02c__main__\nLanguageMixer\n)\x81}b."
    path = raw("whole.pt", torch_bytes(module, {}))(tmp_path)
    with pytest.raises(MixerError, match=r"__main__\.LanguageMixer.*save model\.state_dict\(\) alone"):
        inspect_checkpoint(path)
    called = torch_bytes(Call(Name("transformers.training_args", "TrainingArguments"), ()), {})
    with pytest.raises(MixerError, match="settings of a training run"):
        inspect_checkpoint(raw("arguments.pt", called)(tmp_path))


def test_half_precision_weights_beside_deepspeed_states_are_converted(tmp_path: Path) -> None:
    (tmp_path / "global_step100").mkdir()
    (tmp_path / "zero_to_fp32.py").touch()
    write_torch(tmp_path / "pytorch_model.bin", {key: value.astype(np.float16) for key, value in flat_state().items()})
    found = inspect_checkpoint(tmp_path)
    assert (found.verdict, list(found.dtypes)) == ("convertible", ["F16"])
