"""The fixed inputs on which a converted model and its source are compared."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.proof.text import TEXT
from mlx_mixer.checkpoint import TOKENIZER_NAME
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.model_configs.bidirectional import BidirectionalMixerConfig
from mlx_mixer.model_configs.kinds import ModelConfig
from mlx_mixer.model_configs.retrieval import RetrievalMixerConfig

# Positions of the ids; what lies beyond them in the window is compared layer by layer.
POSITIONS = 32
# Positions of the noise. Nobody trains longer windows, and a small file can ask for a million positions.
WINDOW = 2048
# Values of one activation: they are held in float64, and a small file can ask for a million of each size.
MOST_VALUES = 1 << 22
# Features of the noise, where features are mixed independently of each other.
NOISE_FEATURES = 64


def fixed_inputs(folder: Path, config: ModelConfig) -> npt.NDArray[Any]:
    """What a model is compared on, the same every time.

    Args:
        folder: Its folder; with a tokenizer in it, a text is among the ids.
        config: Its configuration.

    Returns:
        int32 ids ``(B, n)``: first some from all over the vocabulary, then those of the text. Of a re-ranker, float32
        rows ``(1, m, d)``.
    """
    if isinstance(config, RetrievalMixerConfig):
        return _window(config, config.hidden_size)
    widest = max(config.vocab_size, config.hidden_size, config.intermediate_size)
    length = min(config.context_length, POSITIONS, max(2, MOST_VALUES // widest))
    drawn = np.random.default_rng(0).integers(0, config.vocab_size, length).tolist()
    text = _text_ids(folder)[:length]
    has_text = len(text) == length and max(text) < config.vocab_size
    return np.array([drawn, text] if has_text else [drawn], np.int32)


def window_noise(config: ModelConfig) -> npt.NDArray[np.float32]:
    """A window ``(1, L, d)`` for one token mixing; of few features where each is mixed alone."""
    match config:
        case BidirectionalMixerConfig() | LanguageMixerConfig(token_mixing="flat" | "expanded"):
            return _window(config, min(config.hidden_size, NOISE_FEATURES))
    return _window(config, config.hidden_size)


def direction(config: ModelConfig) -> npt.NDArray[np.float32]:
    """One vector ``(d,)``."""
    return _noise(1, config.hidden_size)[0, 0]


def _window(config: ModelConfig, dims: int) -> npt.NDArray[np.float32]:
    return _noise(min(config.context_length, WINDOW, max(2, MOST_VALUES // dims)), dims)


def _noise(length: int, dims: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((1, length, dims), dtype=np.float32)


def _text_ids(folder: Path) -> list[int]:
    file = folder / TOKENIZER_NAME
    if not file.is_file():
        return []
    from tokenizers import Tokenizer  # only where there is one

    # A tokenizer that does not survive this very text was refused when it was installed, in a process of its own.
    return list(Tokenizer.from_file(str(file)).encode(TEXT, add_special_tokens=False).ids)
