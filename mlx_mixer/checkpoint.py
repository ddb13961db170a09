"""A model folder on disk and the model it describes.

A folder holds `config.json`, `model.safetensors` (or shards with `model.safetensors.index.json`), `tokenizer.json` with
`tokenizer_config.json`, and sometimes the SentencePiece `tokenizer.model` it was made from.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import mlx.core as mx
from mlx.utils import tree_flatten

from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.errors import CheckpointError, ConfigError, ModelNotFoundError, UnsupportedModelError
from mlx_mixer.foreign import open_regular
from mlx_mixer.memory_layout import lay_out_for_decode
from mlx_mixer.model_configs.kinds import ModelConfig, config_from_dict
from mlx_mixer.model_configs.retrieval import RetrievalMixerConfig
from mlx_mixer.models.kinds import Model, make_model
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.paths import default_paths
from mlx_mixer.quantization import dequantize_weights, is_unpacked_on, quantize_modules, stored_quantized
from mlx_mixer.stored_weights import INDEX_NAME as INDEX_NAME
from mlx_mixer.stored_weights import WEIGHTS_NAME as WEIGHTS_NAME
from mlx_mixer.stored_weights import read_weights
from mlx_mixer.strict_json import parse_json
from mlx_mixer.weights_fit import check_weights

if TYPE_CHECKING:
    from mlx_lm.tokenizer_utils import TokenizerWrapper

CONFIG_NAME = "config.json"
TOKENIZER_NAME = "tokenizer.json"
MAX_CONFIG_BYTES = 1 << 20
MAX_REASON = 300


def default_model_path() -> Path:
    """Folder of the bundled model."""
    return Path(str(files("mlx_mixer") / "default_model" / "checkpoint"))


def resolve_model(name: str | Path | None) -> Path:
    """Folder that a user means.

    Args:
        name: A folder, the name of a model below the models folder of `mlx_mixer.paths`, or `None` or "default" for
            the bundled model.

    Raises:
        ModelNotFoundError: If there is no such folder, or it holds no `config.json`.
    """
    if name is None or str(name) == "default":
        name = default_model_path()
    candidates = (Path(name).expanduser(), default_paths().models / name)
    for folder in candidates:
        if (folder / CONFIG_NAME).is_file():
            return folder
    if candidates[0].is_dir():
        raise ModelNotFoundError(
            f"{name} holds no {CONFIG_NAME}; make a model of it: mlx-mixer convert {name} --out DIR"
        )
    places = " or ".join(map(str, dict.fromkeys(candidates)))
    raise ModelNotFoundError(f"no model at {places}; see: mlx-mixer models list")


def load_config(path: str | Path) -> ModelConfig:
    """Read the config of a model folder.

    Raises:
        ModelNotFoundError: If there is no such model.
        UnsupportedModelError: If it is a model of another kind.
        CheckpointError: If `config.json` cannot be read or is wrong.
    """
    file = resolve_model(path) / CONFIG_NAME
    with open_regular(file) as stream:
        raw = stream.read(MAX_CONFIG_BYTES + 1)
    if len(raw) > MAX_CONFIG_BYTES:
        raise CheckpointError(f"{file} is larger than {MAX_CONFIG_BYTES:,} bytes")
    values = parse_json(raw, str(file))
    if not isinstance(values, dict):
        raise CheckpointError(f"{file} holds {type(values).__name__}, not a table of settings")
    try:
        return config_from_dict(values)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"{file}: {_one_line(error)}") from error
    except ConfigError as error:
        raise CheckpointError(f"{file}: {_one_line(error)}") from error


def load_model(path: str | Path, *, as_stored: bool | None = None) -> Model:
    """Load the model of a folder, of whatever kind it is, evaluated and ready.

    Args:
        path: See `resolve_model`.
        as_stored: Whether weights are held as the folder stores them. Otherwise they are unpacked to float32 and the
            model's `config.quantization` is `None`. If omitted: as stored, except on a CPU, where MLX's
            half-precision and quantised products are slow.

    Raises:
        ModelNotFoundError: If there is no such model.
        UnsupportedModelError: If it is a model of another kind.
        CheckpointError: If the folder is damaged or its parts do not fit together.
    """
    config = load_config(path)
    folder = resolve_model(path)
    weights = read_weights(folder)
    if as_stored is None:
        as_stored = not is_unpacked_on(mx.default_device())
    try:
        check_weights(config, weights)
        model = _quantised(config, weights) if as_stored else _unpacked(config, weights)
    except ValueError as error:
        raise CheckpointError(f"the weights in {folder} do not fit its {CONFIG_NAME}: {_one_line(error)}") from error
    lay_out_for_decode(model)
    mx.eval(model.parameters())
    return model


def load_language_model(path: str | Path, *, as_stored: bool | None = None) -> LanguageMixer:
    """Load a model that writes; see `load_model`.

    Raises:
        UnsupportedModelError: If it is of a kind that does not write.
    """
    model = load_model(path, as_stored=as_stored)
    if not isinstance(model, LanguageMixer):
        raise UnsupportedModelError(
            f"{resolve_model(path)} holds a model of type {model.config.model_type!r}, which does not write; "
            f"give one of type {LanguageMixerConfig.model_type!r}"
        )
    return model


def load_tokenizer(path: str | Path) -> "TokenizerWrapper":
    """Load the tokenizer of a model folder as mlx-lm wraps it, with its streaming detokenizer.

    Raises:
        ModelNotFoundError: If the folder holds no `tokenizer.json`.
    """
    # mlx-lm takes over a second to import (transformers); models are loaded without it where words are not needed.
    from mlx_lm.tokenizer_utils import load as load_wrapped

    folder = tokenizer_file(path).parent
    config = load_config(path)
    eos = None if isinstance(config, RetrievalMixerConfig) else config.eos_token_id
    with _quiet_transformers():
        return load_wrapped(folder, eos_token_ids=None if eos is None else [eos])


def tokenizer_file(path: str | Path) -> Path:
    """The `tokenizer.json` of a model folder.

    Raises:
        ModelNotFoundError: If there is none.
    """
    file = resolve_model(path) / TOKENIZER_NAME
    if not file.is_file():
        raise ModelNotFoundError(
            f"{file.parent} holds no {TOKENIZER_NAME}; convert the model again with --tokenizer FILE"
        )
    return file


def load(path: str | Path) -> "tuple[LanguageMixer, TokenizerWrapper]":
    """Load a model that writes and its tokenizer; see `load_language_model` and `load_tokenizer`."""
    return load_language_model(path), load_tokenizer(path)


def save_model(folder: Path, model: Model, *, config: ModelConfig | None = None) -> None:
    """Write `config.json` and `model.safetensors` into an existing folder (`mlx_mixer.atomic` makes one appear whole).

    Args:
        folder: Where to write.
        model: Its parameters are written in their dtype.
        config: Written instead of the model's own, to add what training learned about it.
    """
    write_checkpoint(folder, dict(tree_flatten(model.parameters())), config or model.config)


def write_checkpoint(folder: Path, weights: dict[str, mx.array], config: ModelConfig) -> None:
    """Write named arrays and a config as a model folder's two main files."""
    mx.save_safetensors(str(folder / WEIGHTS_NAME), weights, metadata={"format": "mlx"})
    write_config_file(folder, config)


def write_config_file(folder: Path, config: ModelConfig) -> None:
    """Write the `config.json` of a model folder."""
    (folder / CONFIG_NAME).write_text(json.dumps(config.to_dict(), indent=2) + "\n", encoding="utf-8")


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    # It reads our config.json on its way to the tokenizer and warns that it does not know the model type.
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _quantised(config: ModelConfig, weights: dict[str, mx.array]) -> Model:
    """The model with its weights as they are, quantised where they are."""
    model = make_model(config)
    paths: frozenset[str] = frozenset()
    if config.quantization is not None:
        paths = stored_quantized(weights)
        if not paths:
            raise ValueError("they are not quantised, but it has an entry for quantization")
        quantize_modules(model, config.quantization, paths)
    model.load_weights(list(weights.items()), strict=True)
    packed = {f"{path}.weight" for path in paths}
    for name, array in weights.items():
        if not (array.dtype == mx.uint32 if name in packed else mx.issubdtype(array.dtype, mx.floating)):
            raise ValueError(f"{name} is of type {array.dtype}")
    return model


def _unpacked(config: ModelConfig, weights: dict[str, mx.array]) -> Model:
    """The model with its weights in float32."""
    if config.quantization is not None:
        weights = dequantize_weights(weights, config.quantization)
        config = replace(config, quantization=None)
    model = make_model(config)
    model.load_weights([(name, array.astype(mx.float32)) for name, array in weights.items()], strict=True)
    return model


def _one_line(error: Exception) -> str:
    line = " ".join(str(error).split())
    # MLX lists every missing parameter, and a wrong value may be of any length.
    return line if len(line) <= MAX_REASON else f"{line[:MAX_REASON]}..."
