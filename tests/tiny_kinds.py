"""Small models of the kinds beside the language mixer."""

import json
from pathlib import Path
from typing import Any, TypeVar

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_map

from mlx_mixer.checkpoint import save_model
from mlx_mixer.model_configs.autoencoding import AutoencodingMixerConfig
from mlx_mixer.model_configs.bidirectional import BidirectionalMixerConfig
from mlx_mixer.model_configs.kinds import ModelConfig
from mlx_mixer.model_configs.retrieval import RetrievalMixerConfig
from mlx_mixer.models.kinds import make_model
from tests.tiny import byte_tokenizer

M = TypeVar("M", bound=nn.Module)

_BLOCKS = {"hidden_size": 16, "num_layers": 2, "context_length": 24, "intermediate_size": 32}
_TOKENS = {"vocab_size": 64, **_BLOCKS}

AUTOENCODERS: dict[str, dict[str, Any]] = {
    "repeat": {},
    "unroll": {"decoder_input": "unroll"},
    "unroll_wide": {"decoder_input": "unroll", "hidden_size": 30},
    "compressed": {"compressed_size": 5, "num_decoder_layers": 3},
    "compressed_unroll": {"compressed_size": 4, "decoder_input": "unroll"},
    "kernel": {"kernel_size": 4},
    "headed": {"token_mixing": "headed", "num_heads": 4, "kernel_size": 2},
    "tied": {"tie_word_embeddings": True},
    "before_last": {"embedding_position": -2},
    "encoder": {"num_decoder_layers": 0},
}

INTERACTIONS: dict[str, Any] = {"rows": "interactions", "mixing_size": 8}


def autoencoding_config(**changes: Any) -> AutoencodingMixerConfig:
    return AutoencodingMixerConfig(**{**_TOKENS, "num_decoder_layers": 1, **changes})


def retrieval_config(**changes: Any) -> RetrievalMixerConfig:
    return RetrievalMixerConfig(**{**_BLOCKS, **changes})


def bidirectional_config(**changes: Any) -> BidirectionalMixerConfig:
    return BidirectionalMixerConfig(**{**_TOKENS, **changes})


CONFIGS: dict[str, ModelConfig] = {
    **{f"autoencoding_{name}": autoencoding_config(**changes) for name, changes in AUTOENCODERS.items()},
    "retrieval": retrieval_config(),
    "retrieval_interactions": retrieval_config(**INTERACTIONS),
    "retrieval_scores": retrieval_config(**INTERACTIONS, takes_scores=True),
    "bidirectional": bidirectional_config(padding_side="left", pad_token_id=1),
    "bidirectional_tied": bidirectional_config(tie_word_embeddings=True),
}


def randomised(model: M, *, seed: int = 0, dtype: mx.Dtype = mx.float32) -> M:
    """The model with every parameter random, biases and norms too, so that none can be forgotten unnoticed."""
    key = mx.random.key(seed)

    def randomise(array: mx.array) -> mx.array:
        nonlocal key
        key, draw = mx.random.split(key)
        return (array + mx.random.normal(array.shape, key=draw) * 0.3).astype(dtype)

    model.update(tree_map(randomise, model.parameters()))
    mx.eval(model.parameters())
    return model


def model_of(config: ModelConfig, *, seed: int = 0) -> Any:
    mx.random.seed(seed)
    return randomised(make_model(config), seed=seed)


def folder_of(folder: Path, config: ModelConfig) -> Path:
    """A complete model folder whose tokenizer works byte by byte; the vocabulary must have 257 ids."""
    folder.mkdir(parents=True, exist_ok=True)
    save_model(folder, model_of(config))
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    return folder
