"""The one function that turns a foreign checkpoint into a model folder."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from convert.hints import Hints, how_to_tell
from convert.hub.cache import origin_of
from convert.model_folder import find_model_folder, folder_for, rewrite_model_folder
from convert.plan import plan_conversion
from convert.proof.verify import verify_conversion
from convert.report import ConversionReport as ConversionReport
from convert.room import require_disk, require_memory
from convert.sources.byte_order import refuse_swapped
from convert.sources.containers import Checkpoint, open_checkpoint
from convert.sources.lookalikes import UnconvertibleError
from convert.sources.storage import Storage
from convert.transformer import convert_transformer, transformer_type
from convert.words.tokenizers import SpecialIds, find_tokenizer, install_tokenizer
from convert.write_weights import Progress, WeightPlan, write_weights
from convert.writer import MAX_SHARD_BYTES
from mlx_mixer.checkpoint import write_config_file
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.config_fields import Provenance
from mlx_mixer.errors import ConfigError, ConversionError
from mlx_mixer.model_configs.autoencoding import AutoencodingMixerConfig
from mlx_mixer.model_configs.bidirectional import BidirectionalMixerConfig
from mlx_mixer.model_configs.kinds import ModelConfig
from mlx_mixer.model_configs.retrieval import RetrievalMixerConfig

TokenConfig = LanguageMixerConfig | AutoencodingMixerConfig | BidirectionalMixerConfig


def convert_checkpoint(
    source: str | Path,
    out: str | Path,
    *,
    quantize: int | None = None,
    dtype: str | None = None,
    verify: bool = True,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    progress: Progress | None = None,
    **hints: Any,
) -> ConversionReport:
    """Convert a masked-mixer checkpoint into a model folder that `mlx_mixer.load_model` loads.

    The folder appears whole or not at all. Nothing in the checkpoint is executed. Everything above the diagonal of
    token-mixing weights is set to zero. Tensors are read, checked and written piece by piece, so that memory stays
    far below the size of the model, unless it is verified.

    A model folder of our own is written anew in another form, with its tokenizer and provenance. A transformer that
    mlx-lm runs is handed to mlx-lm's own conversion.

    Args:
        source: Trainer run or checkpoint folder, weight file (`.safetensors`, or `.bin` in zip form), shard index, or
            model folder.
        out: Folder to make; it must not exist or be empty.
        quantize: 8 or 4, to store the large matrices in so many bits.
        dtype: "float32", "float16" or "bfloat16", for everything else; if omitted, float32, or half precision beside
            quantised matrices.
        verify: Whether the result is loaded and compared with the source.
        max_shard_bytes: Weights are divided into files of at most this size.
        progress: Called with the source bytes that are done and their number.
        **hints: What the checkpoint does not hold; see `convert.hints.Hints`.

    Returns:
        What was recognised and written.

    Raises:
        UsageError: For an unknown hint, a bad value, or an `out` that is in use.
        ModelNotFoundError: If there is no such source.
        UnsupportedModelError: If the checkpoint is of a family that is not converted.
        ConversionError: If it is damaged or does not fit together, or the result is not what it should be.
        ResourceError: If the disk has no room for the result.
    """
    started = time.perf_counter()
    given, storage = Hints.from_mapping(hints), Storage.asked(quantize, dtype)
    source, out = Path(source).expanduser(), Path(out).expanduser()
    if os.path.isdir(source):  # noqa: PTH112  # unlike Path.is_dir, it does not raise where a name is too long
        source = source.resolve()  # "." and "latest" get the name they stand for
    if storage.is_any and (folder := find_model_folder(source)) is not None:
        return rewrite_model_folder(folder, out, storage, verify=verify, shard_bytes=max_shard_bytes, progress=progress)
    with open_checkpoint(source) as checkpoint:
        try:
            plan = plan_conversion(checkpoint, source, given)
        except UnconvertibleError as error:
            if (model_type := transformer_type(source, error)) is None:
                raise
            return convert_transformer(checkpoint, source, out, model_type, storage, verify=verify)
        refuse_swapped(checkpoint)
        types = [checkpoint.tensors[name].dtype for entry in plan.assignments for name in entry.stored]
        config = storage.config(plan.config)
        weights = WeightPlan(config, storage.stored_dtype(types), plan.assignments)
        require_disk(out, weights.nbytes)
        if verify:
            require_memory(weights.parameters)
        with folder_for(out) as folder:
            config, words = _install_words(config, _find_tokenizer(given, source, checkpoint), folder)
            written = write_weights(folder, checkpoint, weights, max_shard_bytes=max_shard_bytes, progress=progress)
            config = replace(config, provenance=_provenance(source, plan.family.name, written.digests, given))
            write_config_file(folder, config)
            proof = verify_conversion(folder, checkpoint, plan, quantized=quantize is not None) if verify else None
    return ConversionReport(
        family=plan.family.name,
        config=config,
        out=out,
        parameters=written.parameters,
        files=tuple(file.path for file in checkpoint.files),
        source_bytes=sum(file.path.stat().st_size for file in checkpoint.files),
        bytes=written.nbytes,
        verification=proof,
        warnings=(*checkpoint.notes, *plan.notes, *words),
        seconds=time.perf_counter() - started,
    )


def _provenance(source: Path, family: str, digests: dict[str, str], hints: Hints) -> Provenance:
    # A folder in the Hub's cache is named by a commit, and known by its repository.
    name, revision = origin_of(source) or (source.name, None)
    return Provenance(source=name, family=family, revision=revision, sha256=digests, hints=hints.given())


def _find_tokenizer(hints: Hints, source: Path, checkpoint: Checkpoint) -> Path | None:
    named = None if hints.tokenizer is None else Path(hints.tokenizer).expanduser()
    beside = checkpoint.files[0].path.parent
    return find_tokenizer(named, [beside, source] if source.is_dir() else [beside])


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
