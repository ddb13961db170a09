"""Small models and tokenizers for tests, made in milliseconds from a seed."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_map
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from mlx_mixer.checkpoint import save_model
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.models.language import LanguageMixer

# Every causal form of token mixing, by a name that tells it apart in a test's id.
FORMS: dict[str, dict[str, Any]] = {
    "flat": {},
    "tied": {"tie_word_embeddings": True},
    "kernel3": {"kernel_size": 3},
    "kernel4": {"kernel_size": 4},
    "expanded": {"token_mixing": "expanded"},
    "expanded_x2": {"token_mixing": "expanded", "token_expansion": 2.0},
    "expanded_half_nobias": {"token_mixing": "expanded", "token_expansion": 0.5, "token_bias": False},
    "headed": {"token_mixing": "headed", "num_heads": 4},
    "headed_kernel2": {"token_mixing": "headed", "num_heads": 2, "kernel_size": 2},
    "projected": {"token_mixing": "projected"},
}


def tiny_config(**changes: Any) -> LanguageMixerConfig:
    """A config of a few thousand parameters: V 64, D 16, 2 layers, 24 positions."""
    sizes = {"vocab_size": 64, "hidden_size": 16, "num_layers": 2, "context_length": 24, "intermediate_size": 32}
    return LanguageMixerConfig(**{**sizes, **changes})


def tiny_model(*, seed: int = 0, dtype: mx.Dtype = mx.float32, **changes: Any) -> LanguageMixer:
    """A model with every parameter random, biases and norms too, so that none can be forgotten unnoticed."""
    mx.random.seed(seed)
    model = LanguageMixer(tiny_config(**changes))
    key = mx.random.key(seed)

    def randomise(array: mx.array) -> mx.array:
        nonlocal key
        key, draw = mx.random.split(key)
        noise = mx.random.normal(array.shape, key=draw) * 0.3
        return (array + noise).astype(dtype)

    model.update(tree_map(randomise, model.parameters()))
    mx.eval(model.parameters())
    return model


def byte_tokenizer() -> Tokenizer:
    """A tokenizer with one id per byte value, 256 in all, and `<eos>` as 256."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<eos>"])
    return tokenizer


def tiny_model_folder(folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    """A complete model folder whose tokenizer works byte by byte."""
    folder.mkdir(parents=True, exist_ok=True)
    model = tiny_model(seed=seed, **{"vocab_size": 257, "eos_token_id": 256, **changes})
    save_model(folder, model)
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<eos>",
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder
