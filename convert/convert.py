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
from convert.hub_cache import origin_of
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
from mlx_mixer.model_configs.autoencoding import AutoencodingMixerConfig
from mlx_mixer.model_configs.bidirectional import BidirectionalMixerConfig
from mlx_mixer.model_configs.kinds import ModelConfig
from mlx_mixer.model_configs.retrieval import RetrievalMixerConfig
from mlx_mixer.models.autoencoding import AutoencodingMixer
from mlx_mixer.models.kinds import Model
from mlx_mixer.models.retrieval import RetrievalMixer

TRIAL_TOKENS = 64
TokenConfig = LanguageMixerConfig | AutoencodingMixerConfig | BidirectionalMixerConfig


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
    config: ModelConfig
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
        provenance = _provenance(source, checkpoint, plan, given)
        with _folder_for(out) as folder:
            config, words = _install_words(plan.config, _find_tokenizer(given, source, checkpoint), folder)
            config = replace(config, provenance=provenance)
            parameters = _write_weights(folder, checkpoint, plan, config)
            _try_model(folder)
    return ConversionReport(
        family=plan.family.name,
        config=config,
        out=out,
        parameters=parameters,
        files=tuple(file.path for file in checkpoint.files),
        warnings=(*checkpoint.notes, *plan.notes, *words),
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


def _write_weights(folder: Path, checkpoint: Checkpoint, plan: Plan, config: ModelConfig) -> int:
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
    name, revision = origin_of(source) or (source.name, None)
    return Provenance(source=name, family=plan.family.name, revision=revision, sha256=digests, hints=hints.given())


def _install_words(inferred: ModelConfig, tokenizer: Path | None, folder: Path) -> tuple[ModelConfig, list[str]]:
    """Put the tokenizer into the folder, its ids into the configuration, and say what is missing."""
    if isinstance(inferred, RetrievalMixerConfig):
        return inferred, []  # it sees embeddings and no words
    config, notes = inferred, []
    if tokenizer is None:
        notes.append(f"no tokenizer lies beside the weights; to use the model with words, {how_to_tell('tokenizer')}")
    else:
        config = _with_ids(inferred, install_tokenizer(tokenizer, folder, inferred.vocab_size))
        if inferred.pad_token_id is None and config.pad_token_id is not None:
            notes.append(f"the padding id is taken to be {config.pad_token_id}; if not, {how_to_tell('pad_token_id')}")
    if isinstance(config, LanguageMixerConfig) and config.padding_side is None:
        notes.append(f"where texts were padded is unknown; to embed with the model, {how_to_tell('padding_side')}")
    return config, notes


def _with_ids(config: TokenConfig, ids: SpecialIds) -> TokenConfig:
    # Upstream training pads with the end-of-text token.
    pad = ids.eos if ids.pad is None else ids.pad
    try:
        return replace(
            config,
            bos_token_id=ids.bos,
            eos_token_id=ids.eos,
            pad_token_id=pad if config.pad_token_id is None else config.pad_token_id,
        )
    except ConfigError as error:
        raise ConversionError(f"the tokenizer does not fit the model: {error}") from error


def _try_model(folder: Path) -> None:
    """Load what was written and run it once."""
    if not mx.isfinite(_trial_output(load_model(folder))).all().item():
        raise ConversionError("the converted model computes NaN or infinite values; its weights are too large")


def _trial_output(model: Model) -> mx.array:
    length = min(model.config.context_length, TRIAL_TOKENS)
    if isinstance(model, RetrievalMixer):
        return model.hidden_states(mx.random.normal((1, length, model.config.hidden_size), key=mx.random.key(0)))
    ids = mx.arange(length)[None] % model.config.vocab_size
    is_encoder = isinstance(model, AutoencodingMixer) and model.config.num_decoder_layers == 0
    return model.hidden_states(ids) if is_encoder else model(ids)
