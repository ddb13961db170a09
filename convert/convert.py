"""The one function that turns a foreign checkpoint into a model folder."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from convert.containers import Checkpoint, open_checkpoint
from convert.hints import Hints, how_to_tell
from convert.key_table import Assignment
from convert.plan import Plan, plan_conversion
from convert.tokenizers import SpecialIds, find_tokenizer, install_tokenizer
from convert.weight_file import Float32Array
from mlx_mixer.atomic import atomic_directory
from mlx_mixer.checkpoint import load_model, write_checkpoint
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.config_fields import Provenance
from mlx_mixer.errors import ConfigError, ConversionError
from mlx_mixer.foreign import quoted

TRIAL_TOKENS = 64


@dataclass(frozen=True, kw_only=True)
class ConversionReport:
    """What a conversion did.

    Attributes:
        family: Upstream family the checkpoint was recognised as.
        config: Of the model it became.
        out: The model folder.
        parameters: Number of trainable values.
        files: Source files that were read.
        warnings: What the user should know, one line each.
        seconds: How long it took.
    """

    family: str
    config: LanguageMixerConfig
    out: Path
    parameters: int
    files: tuple[Path, ...]
    warnings: tuple[str, ...]
    seconds: float


def convert_checkpoint(source: str | Path, out: str | Path, **hints: Any) -> ConversionReport:
    """Convert a masked-mixer checkpoint into a model folder that `mlx_mixer.load_model` loads.

    The folder appears whole or not at all. Nothing in the checkpoint is executed. Weights are stored in float32, with
    everything above the diagonal of token-mixing weights set to zero.

    Args:
        source: Trainer run or checkpoint folder, weight file (`.safetensors`, or `.bin` in zip form), or shard index.
        out: Folder to make; it must not exist or be empty.
        **hints: What the checkpoint does not hold; see `convert.hints.Hints`.

    Returns:
        What was recognised and written.

    Raises:
        UsageError: For an unknown hint, a bad value, or an `out` that is in use.
        ModelNotFoundError: If there is no such source.
        UnsupportedModelError: If the checkpoint is of a family that is not converted.
        ConversionError: If it is damaged or does not fit together.
    """
    started = time.perf_counter()
    given = Hints.from_mapping(hints)
    source, out = Path(source).expanduser(), Path(out).expanduser()
    if source.is_dir():
        source = source.resolve()  # "." and "latest" get the name they stand for
    with open_checkpoint(source) as checkpoint:
        plan = plan_conversion(checkpoint, source, given)
        tokenizer = _find_tokenizer(given, source, checkpoint)
        with _folder_for(out) as folder:
            ids = None if tokenizer is None else install_tokenizer(tokenizer, folder, plan.config.vocab_size)
            config = _final_config(plan.config, ids, _provenance(source, checkpoint, plan, given))
            parameters = _write_weights(folder, checkpoint, plan, config)
            _try_model(folder)
    return ConversionReport(
        family=plan.family.name,
        config=config,
        out=out,
        parameters=parameters,
        files=tuple(file.path for file in checkpoint.files),
        warnings=(*checkpoint.notes, *plan.notes, *_tokenizer_notes(tokenizer, plan.config, config)),
        seconds=time.perf_counter() - started,
    )


@contextlib.contextmanager
def _folder_for(out: Path) -> Iterator[Path]:
    try:
        with atomic_directory(out) as folder:
            yield folder
    except OSError as error:
        raise ConversionError(f"{out} cannot be written: {error.strerror or error}") from error


def _find_tokenizer(hints: Hints, source: Path, checkpoint: Checkpoint) -> Path | None:
    named = None if hints.tokenizer is None else Path(hints.tokenizer).expanduser()
    beside = checkpoint.files[0].path.parent
    return find_tokenizer(named, [beside, source] if source.is_dir() else [beside])


def _write_weights(folder: Path, checkpoint: Checkpoint, plan: Plan, config: LanguageMixerConfig) -> int:
    """Write the model's two main files and return the number of its parameters."""
    weights = {entry.target: mx.array(_assigned(checkpoint, entry)) for entry in plan.assignments}
    try:
        write_checkpoint(folder, weights, config)
    except RuntimeError as error:  # how MLX reports a full disk
        raise ConversionError(f"the weights cannot be written: {error}") from error
    return sum(array.size for array in weights.values())


def _assigned(checkpoint: Checkpoint, entry: Assignment) -> Float32Array:
    arrays = [checkpoint.read(name) for name in entry.stored]
    for name, array in zip(entry.stored, arrays, strict=True):
        if not np.isfinite(array).all():
            raise ConversionError(f"{quoted(name)} holds NaN or infinite values; the training run has diverged")
    return np.ascontiguousarray(entry.transform(arrays))


def _provenance(source: Path, checkpoint: Checkpoint, plan: Plan, hints: Hints) -> Provenance:
    digests = {file.path.name: file.sha256() for file in checkpoint.files}
    return Provenance(source=source.name, family=plan.family.name, sha256=digests, hints=hints.given())


def _final_config(config: LanguageMixerConfig, ids: SpecialIds | None, provenance: Provenance) -> LanguageMixerConfig:
    changes: dict[str, Any] = {"provenance": provenance}
    if ids is not None:
        # Upstream training pads with the end-of-text token.
        pad = ids.eos if ids.pad is None else ids.pad
        changes |= {"bos_token_id": ids.bos, "eos_token_id": ids.eos}
        changes |= {"pad_token_id": pad} if config.pad_token_id is None else {}
    try:
        return replace(config, **changes)
    except ConfigError as error:
        raise ConversionError(f"the tokenizer does not fit the model: {error}") from error


def _tokenizer_notes(tokenizer: Path | None, inferred: LanguageMixerConfig, config: LanguageMixerConfig) -> list[str]:
    notes = []
    if tokenizer is None:
        notes.append(f"no tokenizer lies beside the weights; to use the model with words, {how_to_tell('tokenizer')}")
    elif inferred.pad_token_id is None and config.pad_token_id is not None:
        notes.append(f"the padding id is taken to be {config.pad_token_id}; if not, {how_to_tell('pad_token_id')}")
    if config.padding_side is None:
        notes.append(f"where texts were padded is unknown; to embed with the model, {how_to_tell('padding_side')}")
    return notes


def _try_model(folder: Path) -> None:
    """Load what was written and run it once."""
    model = load_model(folder)
    config = model.config
    ids = mx.arange(min(config.context_length, TRIAL_TOKENS))[None] % config.vocab_size
    if not mx.isfinite(model(ids)).all().item():
        raise ConversionError("the converted model computes NaN or infinite values; its weights are too large")
