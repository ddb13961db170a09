"""Small models and tokenizers for tests, made in milliseconds from a seed."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_map_with_path
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
    "near_linear": {"use_norms": False, "intermediate_size": 16},
    "linear": {"use_norms": False, "intermediate_size": 0, "final_activation": "relu"},
}

_RECURRENT = {"block_order": "channel_then_token", "activation": "silu"}
_DECAY = {**_RECURRENT, "decay": True, "decay_constant": 2.0}
# Every structured form whose decode state has a constant size.
STRUCTURED: dict[str, dict[str, Any]] = {
    "row": {**_RECURRENT, "token_mixing": "row"},
    "row_decay": {**_DECAY, "token_mixing": "row"},
    "col": {**_RECURRENT, "token_mixing": "col"},
    "col_decay": {**_DECAY, "token_mixing": "col"},
    "combined": {**_RECURRENT, "token_mixing": "combined"},
    "combined_decay": {**_DECAY, "token_mixing": "combined"},
    "kernel_col": {**_RECURRENT, "token_mixing": "kernel_col", "kernel_size": 3},
    "kernel_col_decay": {**_DECAY, "token_mixing": "kernel_col", "kernel_size": 4},
    "diag_row": {**_RECURRENT, "token_mixing": "diag_row"},
    "diag_row_decay": {**_DECAY, "token_mixing": "diag_row"},
    "diag_col_decay": {**_DECAY, "token_mixing": "diag_col"},
    "col_heads": {**_RECURRENT, "token_mixing": "col_heads", "num_heads": 4},
    "mixed_heads": {**_RECURRENT, "token_mixing": "mixed_heads", "num_heads": 4},
    "mixed_heads_decay": {**_DECAY, "token_mixing": "mixed_heads", "num_heads": 4},
    "mixed_slices_decay": {**_DECAY, "token_mixing": "mixed_heads", "num_heads": 2, "use_projections": False},
    "combined_heads_decay": {**_DECAY, "token_mixing": "combined_heads", "num_heads": 2},
    "parallel_heads_decay": {**_DECAY, "token_mixing": "parallel_heads", "num_heads": 4},
    "parallel_slices": {**_RECURRENT, "token_mixing": "parallel_heads", "num_heads": 2, "use_projections": False},
    "diag_heads_decay": {**_DECAY, "token_mixing": "diag_heads", "num_heads": 4},
}
# With every row of the past, like `FORMS`, but with a matrix made of one row.
TOEPLITZ: dict[str, dict[str, Any]] = {"toeplitz": {**_RECURRENT, "token_mixing": "toeplitz"}}


def tiny_config(**changes: Any) -> LanguageMixerConfig:
    """A config of a few thousand parameters: V 64, D 16, 2 layers, 24 positions."""
    sizes = {"vocab_size": 64, "hidden_size": 16, "num_layers": 2, "context_length": 24, "intermediate_size": 32}
    return LanguageMixerConfig(**{**sizes, **changes})


def tiny_model(*, seed: int = 0, dtype: mx.Dtype = mx.float32, **changes: Any) -> LanguageMixer:
    """A model with every parameter random, biases and norms too, so that none can be forgotten unnoticed."""
    mx.random.seed(seed)
    model = LanguageMixer(tiny_config(**changes))
    key = mx.random.key(seed)

    def randomise(name: str, array: mx.array) -> mx.array:
        nonlocal key
        key, draw = mx.random.split(key)
        if name.endswith("decay"):
            # Outside 0.9 to 1 it would be clipped, and mean nothing.
            return (array - mx.random.uniform(0.01, 0.09, array.shape, key=draw)).astype(dtype)
        noise = mx.random.normal(array.shape, key=draw) * 0.3
        return (array + noise).astype(dtype)

    model.update(tree_map_with_path(randomise, model.parameters()))
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
