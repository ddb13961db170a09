"""Files that users hand in by mistake: what they are and what to give instead."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from convert.foreign import open_regular
from mlx_mixer.errors import ConversionError, UnsupportedModelError

Format = Literal["safetensors", "torch"]

_RESAVE = "load it with PyTorch and save its state dict with safetensors or torch.save"
_GIVE_FOLDER = "give the checkpoint folder or model.safetensors"
_GIVE_WEIGHTS = "give the .safetensors or .bin file with the weights"
_MERGE_FSDP = "first put it together: accelerate merge-weights FOLDER OUT"
_MERGE_ZERO = "first run the zero_to_fp32.py that lies beside it"
_MERGE_ADAPTER = "merge it into its base model first"
# What the Trainer, and the tools it works with, write beside the weights.
NOT_WEIGHTS = tuple(
    (re.compile(pattern), what, advice)
    for pattern, what, advice in (
        (r"mp_rank_\d+_model_states\.pt", "a part of a DeepSpeed checkpoint", _MERGE_ZERO),
        (r".*zero_pp_rank.*\.pt", "a part of a DeepSpeed ZeRO checkpoint", _MERGE_ZERO),
        (r".*\.distcp|\.metadata|pytorch_model_fsdp_rank\d+\.bin", "a shard of an FSDP checkpoint", _MERGE_FSDP),
        (r"optimizer.*\.(pt|bin)", "the state of an optimizer, not weights", _GIVE_FOLDER),
        (r"scheduler\.pt", "the state of a learning-rate schedule, not weights", _GIVE_FOLDER),
        (r"scaler\.pt", "the state of a gradient scaler, not weights", _GIVE_FOLDER),
        (r"rng_state.*\.pth", "the state of random number generators, not weights", _GIVE_FOLDER),
        (r"training_args\.bin", "the settings of a training run, not weights", _GIVE_FOLDER),
        (r"trainer_state\.json", "the log of a training run, not weights", _GIVE_FOLDER),
        (r"adapter_model\.(safetensors|bin)|adapters\.safetensors", "a LoRA adapter, not a model", _MERGE_ADAPTER),
        (
            r"(added_tokens|special_tokens_map|tokenizer.*|vocab)\.json|merges\.txt|tokenizer\.model",
            "part of a tokenizer, not weights",
            _GIVE_FOLDER,
        ),
        (r"(generation_|adapter_)?config\.json|model\.txt", "a configuration, not weights", _GIVE_FOLDER),
    )
)
# Formats that their names tell more surely than their first bytes.
_OTHER_FORMATS = {
    ".npz": ("a NumPy archive", _GIVE_WEIGHTS),
    ".onnx": ("an ONNX graph", _GIVE_WEIGHTS),
    ".msgpack": ("a Flax checkpoint", _GIVE_WEIGHTS),
    ".keras": ("a Keras model", _GIVE_WEIGHTS),
    ".pt2": ("a program of torch.export", _RESAVE),
    ".py": ("a Python script, which is never run", _GIVE_WEIGHTS),
}
_FORMATS_OF_MODELS = {".npz", ".onnx", ".msgpack", ".keras", ".pt2", ".gguf", ".h5", ".npy"}
_ZIP = b"PK\x03\x04"
SIGNATURES = (
    (0, b"GGUF", "a GGUF file", "GGUF holds models of llama.cpp; no masked mixer is published in it"),
    (0, b"lmgg", "a GGML file", "GGML held models of llama.cpp; no masked mixer is published in it"),
    (0, b"\x93NUMPY", "a NumPy array", _GIVE_WEIGHTS),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", _GIVE_WEIGHTS),
    (0, b"\x1f\x8b", "a gzip archive", "unpack it and give the folder"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it and give the folder"),
    (257, b"ustar", "a tar archive, the oldest torch format", _RESAVE),
    (0, b"\x80", "a bare pickle, as torch.save wrote before version 1.6", _RESAVE),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself", "fetch the file with: git lfs pull"),
    (0, b"<", "a web page or XML, not weights", "download the file again"),
)
EMBEDDING_KEYS = {"query_train", "query_test", "target_train", "target_test", "query", "target"}
TOKEN_KEYS = {"text", "summary", "train_data", "test_data"}
SIGNATURE_BYTES = 512


class LookalikeError(ConversionError):
    """Something that is taken for weights and is none.

    Attributes:
        what: What it is, as the end of "this is ...".
        advice: What to do instead.
    """

    def __init__(self, name: str, what: str, advice: str) -> None:
        super().__init__(f"{name} is {what}; {advice}")
        self.what = what
        self.advice = advice


class UnconvertibleError(UnsupportedModelError):
    """A model that cannot be converted.

    Attributes:
        what: What it is, as the end of "this is ...".
        advice: What to do instead.
        family: What it was recognised as; None if it was not.
    """

    def __init__(self, name: str, what: str, advice: str, family: str | None = None) -> None:
        super().__init__(f"{name} is {what}; {advice}{f' (family {family})' if family else ''}")
        self.what = what
        self.advice = advice
        self.family = family


def file_format(path: Path) -> Format:
    """Tell the format of a weight file from its first bytes.

    Raises:
        ModelNotFoundError: If there is no such file.
        ConversionError: If it is a known other kind of file, or unknown.
    """
    refuse_by_name(path)
    with open_regular(path) as file:
        head = file.read(SIGNATURE_BYTES)
    # The first eight bytes of a safetensors file are the length of its header, which may look like a short signature.
    is_header = head[8:9] == b"{"
    if not is_header and path.suffix in _OTHER_FORMATS:
        raise LookalikeError(path.name, *_OTHER_FORMATS[path.suffix])
    if head.startswith(_ZIP):
        return "torch"
    for offset, magic, what, advice in SIGNATURES:
        if head[offset:].startswith(magic) and not is_header:
            raise LookalikeError(path.name, what, advice)
    if path.suffix != ".safetensors" and not is_header:
        raise ConversionError(f"{path.name} is neither a safetensors file nor a torch file in zip form")
    return "safetensors"


def refuse_by_name(path: Path) -> None:
    """Refuse what training tools write beside the weights.

    Raises:
        LookalikeError: If the name is that of such a file.
    """
    for pattern, what, advice in NOT_WEIGHTS:
        if pattern.fullmatch(path.name):
            raise LookalikeError(path.name, what, advice)


def is_other_file(path: Path) -> bool:
    """Whether the name is that of a file that lies beside weights."""
    return any(pattern.fullmatch(path.name) for pattern, _, _ in NOT_WEIGHTS)


def refuse_split_folder(folder: Path) -> None:
    """Refuse checkpoints that only the tools which wrote them can put together.

    Raises:
        UnconvertibleError: For FSDP and DeepSpeed folders.
    """
    names = [entry.name for entry in folder.iterdir()]
    if any(re.fullmatch(r"pytorch_model_fsdp_\d+|.*\.distcp", name) for name in names):
        advice = f"first run: accelerate merge-weights {folder} OUT"
        raise UnconvertibleError(str(folder), "a distributed (FSDP) checkpoint", advice)
    if any(re.fullmatch(r"global_step\d+|.*zero_pp_rank.*|mp_rank_\d+_model_states\.pt", name) for name in names):
        advice = "first run the zero_to_fp32.py that lies in it"
        raise UnconvertibleError(str(folder), "a DeepSpeed ZeRO checkpoint", advice)


def refuse_folder_without_weights(folder: Path) -> None:
    """Name what a folder holds in place of weights.

    Raises:
        LookalikeError: If it holds an adapter or a model in another format.
    """
    for path in sorted(folder.iterdir()):
        if path.name.startswith("adapter") and path.is_file():
            refuse_by_name(path)
        if path.suffix in _FORMATS_OF_MODELS and path.is_file():
            file_format(path)


def refuse_data(names: Collection[str], where: str) -> None:
    """Refuse files of embeddings, token ids or adapters.

    Raises:
        LookalikeError: If the tensors are named like those.
    """
    if names and set(names) <= EMBEDDING_KEYS:
        raise LookalikeError(where, "a file of embeddings of texts, not a model", "give the checkpoint that made them")
    if names and set(names) <= TOKEN_KEYS:
        raise LookalikeError(where, "a file of token ids of a data set, not a model", "give a checkpoint")
    if names and all(".lora_" in name for name in names):
        raise LookalikeError(where, "a LoRA adapter, not a model", _MERGE_ADAPTER)
