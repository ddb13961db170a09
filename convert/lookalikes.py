"""Files that users hand in by mistake: what they are and what to give instead."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from convert.foreign import open_regular
from mlx_mixer.errors import ConversionError, UnsupportedModelError

Format = Literal["safetensors", "torch"]

NOT_WEIGHTS = (
    (re.compile(r"optimizer.*\.(pt|bin)"), "the state of an optimizer"),
    (re.compile(r"scheduler\.pt"), "the state of a learning-rate schedule"),
    (re.compile(r"scaler\.pt"), "the state of a gradient scaler"),
    (re.compile(r"rng_state.*\.pth"), "the state of random number generators"),
    (re.compile(r"training_args\.bin"), "the settings of a training run"),
    (re.compile(r"trainer_state\.json"), "the log of a training run"),
    (re.compile(r"(added_tokens|special_tokens_map|tokenizer.*|vocab)\.json|tokenizer\.model"), "part of a tokenizer"),
    (re.compile(r"(generation_)?config\.json"), "a configuration"),
)
_RESAVE = "load it with PyTorch and save its state dict with safetensors or torch.save"
SIGNATURES = (
    (0, b"GGUF", "a GGUF file", "GGUF holds models of llama.cpp; no masked mixer is published in it"),
    (0, b"\x93NUMPY", "a NumPy array", "give the .safetensors or .bin file with the weights"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", "give the .safetensors or .bin file with the weights"),
    (257, b"ustar", "a tar archive, the oldest torch format", _RESAVE),
    (0, b"\x80", "a bare pickle, as torch.save wrote before version 1.6", _RESAVE),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself", "fetch the file with: git lfs pull"),
    (0, b"<", "a web page or XML, not weights", "download the file again"),
)
EMBEDDING_KEYS = {"query_train", "query_test", "target_train", "target_test", "query", "target"}
TOKEN_KEYS = {"text", "summary", "train_data", "test_data"}
SIGNATURE_BYTES = 512


def file_format(path: Path) -> Format:
    """Tell the format of a weight file from its first bytes.

    Raises:
        ModelNotFoundError: If there is no such file.
        ConversionError: If it is a known other kind of file.
    """
    refuse_by_name(path)
    with open_regular(path) as file:
        head = file.read(SIGNATURE_BYTES)
    if head.startswith(b"PK\x03\x04"):
        if path.suffix == ".npz":
            raise ConversionError(
                f"{path.name} is a NumPy archive; give the .safetensors or .bin file with the weights"
            )
        return "torch"
    for offset, magic, what, advice in SIGNATURES:
        # A safetensors file begins with the length of its header, which may look like a short signature.
        if head[offset:].startswith(magic) and head[8:9] != b"{":
            raise ConversionError(f"{path.name} is {what}; {advice}")
    if path.suffix != ".safetensors" and head[8:9] != b"{":
        raise ConversionError(f"{path.name} is neither a safetensors file nor a torch file in zip form")
    return "safetensors"


def refuse_by_name(path: Path) -> None:
    """Refuse what the Trainer writes beside the weights.

    Raises:
        ConversionError: If the name is that of such a file.
    """
    for pattern, what in NOT_WEIGHTS:
        if pattern.fullmatch(path.name):
            raise ConversionError(
                f"{path.name} is {what}, not weights; give the checkpoint folder or model.safetensors"
            )


def is_other_file(path: Path) -> bool:
    """Whether the name is that of a file that lies beside weights."""
    return any(pattern.fullmatch(path.name) for pattern, _ in NOT_WEIGHTS)


def refuse_split_folder(folder: Path) -> None:
    """Refuse checkpoints that only the tools which wrote them can put together.

    Raises:
        UnsupportedModelError: For FSDP and DeepSpeed folders.
    """
    names = [entry.name for entry in folder.iterdir()]
    if any(re.fullmatch(r"pytorch_model_fsdp_\d+|.*\.distcp", name) for name in names):
        raise UnsupportedModelError(
            f"{folder} is a distributed (FSDP) checkpoint; first run: accelerate merge-weights {folder} OUT"
        )
    if any(re.fullmatch(r"global_step\d+|.*zero_pp_rank.*", name) for name in names):
        raise UnsupportedModelError(
            f"{folder} is a DeepSpeed ZeRO checkpoint; first run the zero_to_fp32.py that lies in it"
        )


def refuse_data(names: Collection[str], where: str) -> None:
    """Refuse files of embeddings or of token ids, which the same code writes.

    Raises:
        ConversionError: If the tensors are named like those.
    """
    if names and set(names) <= EMBEDDING_KEYS:
        raise ConversionError(f"{where} holds embeddings of texts, not a model; give the checkpoint that made them")
    if names and set(names) <= TOKEN_KEYS:
        raise ConversionError(f"{where} holds token ids of a data set, not a model; give a checkpoint")
