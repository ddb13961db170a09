"""The way back: one of our model folders as a checkpoint under upstream names and layouts, for PyTorch.

Every tensor that the network uses comes back with the bits that our folder holds, which are those of the source where
the folder kept its dtype. What a conversion masked, above the diagonal of mixing matrices, comes back as zero: upstream
masks it too, before every use. What a conversion dropped, because no forward pass reads it, does not come back; where
an upstream tensor holds used and unused values together, the unused ones are copies of the used.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from convert.families.inverse_transforms import Array, Stored, inverse_of
from convert.families.key_table import Rule, fill
from convert.upstream.form import UpstreamForm, upstream_form
from convert.upstream.torch_card import torch_card
from mlx_mixer.atomic import atomic_directory
from mlx_mixer.checkpoint import load_config, resolve_model
from mlx_mixer.errors import CheckpointError, ConversionError, UnsupportedModelError
from mlx_mixer.foreign import quoted
from mlx_mixer.model_configs.kinds import ModelConfig
from mlx_mixer.model_configs.retrieval import RetrievalMixerConfig
from mlx_mixer.models.kinds import make_model
from mlx_mixer.stored_weights import WEIGHTS_NAME, read_weights
from mlx_mixer.weights_fit import check_weights

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")
# The learned weights of tokens in an embedding are ours; upstream takes one state.
OURS_ALONE = ("pooling.", "word_pooling.")
# Bits of a value, to move values without a type that NumPy lacks.
BIT_PATTERNS = {mx.float32: mx.uint32, mx.float16: mx.uint16, mx.bfloat16: mx.uint16}


@dataclass(frozen=True, kw_only=True)
class TorchReport:
    """What was written.

    Attributes:
        family: Upstream family of the checkpoint.
        out: The folder.
        tensors: Number of tensors in it.
        hints: What a conversion of it must be told.
        warnings: What the user should know, one line each.
    """

    family: str
    out: Path
    tensors: int
    hints: dict[str, Any]
    warnings: tuple[str, ...]


def write_torch_checkpoint(model: str | Path, out: str | Path) -> TorchReport:
    """Write a model folder as an upstream checkpoint.

    Args:
        model: See `mlx_mixer.checkpoint.resolve_model`.
        out: Folder to make; it must not exist or be empty. It gets `model.safetensors`, `README.md` and the tokenizer.

    Raises:
        UsageError: If `out` is in use.
        ModelNotFoundError: If there is no such model.
        UnsupportedModelError: If no upstream network computes what the model does, or its weights are quantised.
        CheckpointError: If the folder is damaged.
        ConversionError: If `out` cannot be written.
    """
    folder, out = resolve_model(model), Path(out).expanduser()
    config = load_config(folder)
    if config.quantization is not None:
        raise UnsupportedModelError(
            f"{folder} holds weights quantised to {config.quantization.bits} bits, which upstream code does not read; "
            "give the model they were made of"
        )
    form = upstream_form(config)
    weights = _checked_weights(folder, config)
    warnings = [f"{name} has no place upstream and was left out" for name in weights if name.startswith(OURS_ALONE)]
    tensors = dict(_tensors(form, config, weights))
    try:
        with atomic_directory(out) as made:
            mx.save_safetensors(str(made / WEIGHTS_NAME), tensors, metadata={"format": "pt"})
            (made / "README.md").write_text(torch_card(folder.name, config, form), encoding="utf-8")
            for name in TOKENIZER_FILES:
                if (folder / name).is_file():
                    shutil.copyfile(folder / name, made / name)
    except (OSError, RuntimeError) as error:  # a RuntimeError is how MLX reports a full disk
        raise ConversionError(f"{out} cannot be written: {error}") from error
    return TorchReport(family=form.family, out=out, tensors=len(tensors), hints=form.hints, warnings=tuple(warnings))


def _checked_weights(folder: Path, config: ModelConfig) -> dict[str, mx.array]:
    """The weights of a folder, not yet read, when their names and shapes are those of its configuration."""
    weights = read_weights(folder)
    try:
        check_weights(config, weights)
        make_model(config).load_weights(list(weights.items()), strict=True)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"the weights in {folder} do not fit its config.json: {reason}") from error
    return weights


def _tensors(form: UpstreamForm, config: ModelConfig, weights: dict[str, mx.array]) -> Iterator[tuple[str, mx.array]]:
    """All stored tensors; `weights` is emptied on the way, so that no tensor is held twice."""
    layers = {"i": config.num_layers, "n": getattr(config, "num_decoder_layers", 0)}  # the one kind with two stacks
    tied = _tied_names(form, config)
    for rule in form.rules:
        for layer in range(layers[rule.stack]) if rule.stack else (None,):
            target = fill(rule.target, i=layer, n=layer)
            if rule.is_optional and target not in weights:
                continue
            array = weights.pop(target)
            for name, stored in _stored(rule, layer, array, form):
                yield form.prefix + name, stored
                if name in tied:
                    yield form.prefix + tied[name], stored
    left = [name for name in weights if not name.startswith(OURS_ALONE)]
    if left:
        raise UnsupportedModelError(f"the model has {quoted(min(left))}, for which no upstream network has a place")


def _stored(rule: Rule, layer: int | None, array: mx.array, form: UpstreamForm) -> Iterator[tuple[str, mx.array]]:
    """The stored tensors of one parameter."""
    axes = len([symbol for symbol in rule.shape.split("|")[0].split() if "=" not in symbol])
    parts = inverse_of(rule.transform)(_bits(array), Stored(form.heads, axes))
    for head, part in enumerate(parts):
        name = fill(rule.stored, i=layer, n=layer, j=head)
        yield name, mx.array(np.ascontiguousarray(part)).view(array.dtype)


def _tied_names(form: UpstreamForm, config: ModelConfig) -> dict[str, str]:
    """The second name of a tied matrix by its first: upstream state dicts have both."""
    if isinstance(config, RetrievalMixerConfig) or not config.tie_word_embeddings:
        return {}
    stored = {rule.target.rpartition("embed_tokens")[1] or rule.target: rule.stored for rule in form.rules}
    return {stored["embed_tokens"]: stored["lm_head.weight"]}


def _bits(array: mx.array) -> Array:
    pattern = BIT_PATTERNS.get(array.dtype)
    if pattern is None:
        raise CheckpointError(f"the model folder holds weights of type {array.dtype}; expected floating point")
    return np.array(array.view(pattern))
