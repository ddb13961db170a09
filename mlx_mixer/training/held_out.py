"""Texts kept out of training, to measure a model on while it learns."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlx_mixer.errors import MixerError
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.training.data import read_texts
from mlx_mixer.training.evaluate import language_score
from mlx_mixer.training.tokenizer import Encode
from mlx_mixer.training.windows import Windows, cut_windows

# Enough to tell two models apart, and little beside the steps between two validations.
MOST_TOKENS = 60_000


@dataclass(frozen=True)
class HeldOut:
    """Held-out texts as a model reads them.

    Attributes:
        windows: Cut as for training.
        num_bytes: Bytes of UTF-8 in the texts.
    """

    windows: Windows
    num_bytes: int


def read_held_out(paths: Sequence[Path], encode: Encode, like: Windows) -> HeldOut:
    """Read texts for validation, whole ones spread over the files, about `MOST_TOKENS` of them.

    Args:
        paths: Files and folders.
        encode: The model's tokenizer.
        like: Training windows, whose length and end of text are used.

    Raises:
        MixerError: If there is nothing to predict in them.
    """
    texts = read_texts(paths)
    order = np.random.default_rng(0).permutation(len(texts))
    chosen, tokens = [], 0
    for index in order:
        if tokens >= MOST_TOKENS:
            break
        chosen.append(texts[index])
        tokens += len(encode([texts[index]])[0])
    windows = cut_windows(encode(chosen), like.context_length, like.eos_token_id)
    if not windows.ids:
        raise MixerError("there is no token to predict in the held-out texts; give longer ones")
    return HeldOut(windows, sum(len(text.encode()) for text in chosen))


def held_out_score(model: LanguageMixer, texts: HeldOut) -> float:
    """Minus the bits per byte of the texts, so that higher is better."""
    return -language_score(model, texts.windows, texts.num_bytes).bits_per_byte
