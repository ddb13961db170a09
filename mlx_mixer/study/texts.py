"""Real text as windows of tokens: for training, for choosing learning rates, and for what is reported."""

import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from mlx_mixer.atomic import write_atomically
from mlx_mixer.errors import MixerError
from mlx_mixer.study.settings import StudySettings
from mlx_mixer.training.data import read_texts
from mlx_mixer.training.loop import Batch
from mlx_mixer.training.tokenizer import EOS_ID, Encode, load_encoder, train_tokenizer

TOKENIZER_NAME = "tokenizer.model"
# Of the characters; the rest is for training.
_HELD_OUT_SHARE = 0.05
_FEWEST_TEXTS = 12

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class TokenTexts:
    """Tokenised texts, each in one part only; an end token closes every text.

    Attributes:
        train: Tokens to train on.
        choose: Tokens that decide learning rates.
        report: Tokens that nothing was fitted to.
        bytes_per_token: Of the report part, in UTF-8.
        encode: The tokenizer.
    """

    train: Ids
    choose: Ids
    report: Ids
    bytes_per_token: float
    encode: Encode


def study_texts(paths: Sequence[Path], narrate: Callable[[str], None] | None = None) -> list[str]:
    """The texts of files, folders and libraries, or, without any, Python's own standard library on this machine.

    Args:
        paths: Files and folders; see `mlx_mixer.training.text_sources.read_texts` for what is raised.
        narrate: Told what could not be read.
    """
    if paths:
        return read_texts(paths, narrate)
    library = Path(sysconfig.get_path("stdlib"))
    apart = {"site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3"}
    files = sorted(file for file in library.rglob("*.py") if not apart & set(file.relative_to(library).parts))
    if not files:
        raise MixerError(f"{library} holds no Python sources; give text with --texts")
    return [file.read_text(encoding="utf-8", errors="replace") for file in files]


def tokenised(texts: Sequence[str], settings: StudySettings, out: Path) -> TokenTexts:
    """Divide texts into three parts and learn a tokenizer from the largest.

    Args:
        texts: The texts.
        settings: Seed, most characters, pieces.
        out: Folder that keeps the tokenizer.

    Raises:
        MixerError: If there is too little text.
    """
    train, choose, report = _divided(texts, settings)
    if not (out / TOKENIZER_NAME).exists():
        write_atomically(out / TOKENIZER_NAME, train_tokenizer(train, settings.vocab_size))
    encode = load_encoder(out)
    reported = _stream(report, encode)
    num_bytes = sum(len(text.encode()) for text in report)
    return TokenTexts(_stream(train, encode), _stream(choose, encode), reported, num_bytes / len(reported), encode)


def random_windows(stream: Ids, length: int, count: int, seed: int, step: int) -> Ids:
    """Windows ``(count, length)`` that begin anywhere; they depend on seed and step alone."""
    starts = np.random.default_rng((seed, step)).integers(0, len(stream) - length + 1, count)
    return stream[starts[:, None] + np.arange(length)]


def window_batches(stream: Ids, length: int, settings: StudySettings) -> Callable[[int], tuple[Batch, int]]:
    """Training batches by step, the same for every model: ``(B, L)`` ids, and the number of tokens in them."""
    check_length(stream, length)
    rows = max(1, settings.tokens_per_batch // length)

    def batch_at(step: int) -> tuple[Batch, int]:
        return (mx.array(random_windows(stream, length, rows, settings.seed, step)),), rows * length

    return batch_at


def even_windows(stream: Ids, length: int, most: int) -> Ids:
    """Windows that do not overlap, spread over a stream: at most so many tokens of them."""
    check_length(stream, length)
    windows = stream[: len(stream) // length * length].reshape(-1, length)
    return windows[np.linspace(0, len(windows) - 1, min(len(windows), max(1, most // length))).astype(int)]


def check_length(stream: Ids, length: int) -> None:
    """Refuse windows longer than the text.

    Raises:
        MixerError: If a stream has fewer tokens than a window.
    """
    if len(stream) < length:
        raise MixerError(
            f"a part of the text has {len(stream)} tokens, fewer than a window of {length}; give more text"
        )


def _divided(texts: Sequence[str], settings: StudySettings) -> tuple[list[str], list[str], list[str]]:
    if len(texts) < _FEWEST_TEXTS:
        raise MixerError(f"{len(texts)} texts cannot be divided into three parts; give at least {_FEWEST_TEXTS}")
    order = np.random.default_rng(settings.seed).permutation(len(texts))
    shuffled = [texts[index] for index in order]
    sizes = np.cumsum([len(text) for text in shuffled])
    kept = max(_FEWEST_TEXTS, int(np.searchsorted(sizes, settings.characters)))
    shuffled, sizes = shuffled[:kept], sizes[:kept]
    # At least one text for each held-out part, and as many as their share of the characters takes.
    first = max(1, int(np.searchsorted(sizes, _HELD_OUT_SHARE * sizes[-1])))
    second = max(first + 1, int(np.searchsorted(sizes, 2 * _HELD_OUT_SHARE * sizes[-1])))
    return shuffled[second:], shuffled[:first], shuffled[first:second]


def _stream(texts: Sequence[str], encode: Encode) -> Ids:
    return np.concatenate([np.asarray([*ids, EOS_ID], np.int32) for ids in encode(texts)])
