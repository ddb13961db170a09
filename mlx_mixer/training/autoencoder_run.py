"""`train autoencoder` from texts to a model folder.

The model makes one vector of a window of tokens and gives the tokens back from it, by cross-entropy against the same
tokens: see `mlx_mixer.models.autoencoding`. Its encoder then embeds texts.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_mixer.checkpoint import load_model
from mlx_mixer.errors import MixerError, UnsupportedModelError, UsageError
from mlx_mixer.model_configs.autoencoding import AutoencodingMixerConfig, DecoderInput
from mlx_mixer.models.autoencoding import AutoencodingMixer
from mlx_mixer.training.data import read_texts
from mlx_mixer.training.loop import LoopSettings, StepReport, TrainingSummary, train
from mlx_mixer.training.model_folder import write_model
from mlx_mixer.training.ranks import Ranks
from mlx_mixer.training.reconstruction import (
    FullWindows,
    Reconstruction,
    autoencoding_loss,
    full_windows,
    reconstruction_of,
    split_windows,
    window_batches,
)
from mlx_mixer.training.run_folder import RunFolder
from mlx_mixer.training.tokenizer import EOS_ID, load_encoder, vocabulary_size

# Windows that are measured at each validation.
_VALIDATION_WINDOWS = 256


@dataclass(frozen=True, kw_only=True)
class AutoencoderSizes:
    """Sizes of a fresh model; see `mlx_mixer.model_configs.autoencoding.AutoencodingMixerConfig`."""

    hidden_size: int = 256
    num_layers: int = 4
    num_decoder_layers: int = 4
    context_length: int = 64
    intermediate_size: int = 512
    compressed_size: int | None = None
    decoder_input: DecoderInput = "repeat"


@dataclass(frozen=True, kw_only=True)
class AutoencoderRun:
    """Everything that decides an autoencoder's run.

    Attributes:
        data: Files, folders and libraries; see `mlx_mixer.training.text_sources`.
        out: Model folder to make.
        init: Model folder to start from; a fresh model if unset.
        tokenizer: Folder of the tokenizer of a fresh model.
        sizes: Sizes of a fresh model.
        valid: Files and folders of text that decide which weights are kept.
        held_out: Share of the windows that is kept out of training for that, if no valid texts are given; 0 keeps the
            last weights unjudged.
        batch_size: Windows of what one process computes at once; a step's batch is this times `loop.accumulate`, times
            the number of processes.
        half: Write weights in float16.
        loop: The loop's dials.
    """

    data: Sequence[Path]
    out: Path
    init: Path | None = None
    tokenizer: Path | None = None
    sizes: AutoencoderSizes = field(default_factory=AutoencoderSizes)
    valid: Sequence[Path] = ()
    held_out: float = 0.02
    batch_size: int = 64
    half: bool = False
    loop: LoopSettings

    def __post_init__(self) -> None:
        if (self.init is None) == (self.tokenizer is None):
            raise UsageError("give --tokenizer FOLDER for a fresh model or --init MODEL to go on with one, not both")
        if self.batch_size < 1:
            raise UsageError(f"batch_size is {self.batch_size}; it must be at least 1")
        if not 0 <= self.held_out < 1:
            raise UsageError(f"held_out is {self.held_out}; it must be at least 0 and below 1")


@dataclass(frozen=True)
class AutoencoderSummary:
    """How an autoencoder's run ended.

    Attributes:
        training: As for every run; the best score is minus the loss of held-out windows.
        held_out: How well held-out windows come back, if there are any.
    """

    training: TrainingSummary
    held_out: Reconstruction | None


def train_autoencoder(
    run: AutoencoderRun, *, resume: bool, report: Callable[[StepReport], None], narrate: Callable[[str], None]
) -> AutoencoderSummary:
    """Train an autoencoder, write its folder and measure it.

    Args:
        run: What to do.
        resume: Go on with an unfinished run of the same settings.
        report: Told after every step.
        narrate: Told what is being prepared.

    Raises:
        MixerError: If the data, the settings or the folder cannot be used, or the loss stops being a number.
    """
    mx.random.seed(run.loop.seed)
    folder = RunFolder(run.out)
    source = run.init or run.tokenizer
    assert source is not None
    with folder.ranks.together():
        texts = read_texts(run.data, narrate)
        encode = load_encoder(source)
        model = _model(run)
        length, pad = model.config.context_length, model.config.pad_token_id
        assert pad is not None, "checked where the model is made"
        windows = full_windows(encode(texts), length, pad)
        windows, held_out = _divided(
            run, windows, full_windows(encode(read_texts(run.valid)), length, pad) if run.valid else None
        )
    folder.open(_decisive(run, texts, folder.ranks), resume=resume)
    narrate(f"{len(texts):,} texts, {windows.num_tokens:,} tokens in {len(windows):,} windows")
    summary = train(
        model,
        autoencoding_loss,
        window_batches(windows, run.batch_size * run.loop.accumulate * folder.ranks.size, run.loop.seed),
        run.loop,
        folder,
        report=report,
        validate=_validation(model, held_out) if held_out else None,
        split=split_windows,
        in_lanes=True,
    )
    measured = reconstruction_of(model, held_out) if held_out else None
    write_model(folder, model, source, half=run.half, figures=measured.lines() if measured else ())
    return AutoencoderSummary(summary, measured)


def _model(run: AutoencoderRun) -> AutoencodingMixer:
    if run.init is None:
        assert run.tokenizer is not None
        vocab_size = vocabulary_size(run.tokenizer)
        # Texts have no padding of their own: the end of a text, which they never hold, stands for it.
        config = AutoencodingMixerConfig(
            vocab_size=vocab_size, pad_token_id=EOS_ID, eos_token_id=EOS_ID, **asdict(run.sizes)
        )
        return AutoencodingMixer(config)
    model = load_model(run.init, as_stored=False)
    if not isinstance(model, AutoencodingMixer) or model.config.num_decoder_layers == 0:
        raise UnsupportedModelError(
            f"{run.init} is a {model.config.model_type} that gives no texts back; choose an autoencoder"
        )
    if model.config.pad_token_id is None:
        raise MixerError(f"{run.init} has no pad_token_id in its config.json; training fills short windows with it")
    return model


def _divided(
    run: AutoencoderRun, windows: FullWindows, valid: FullWindows | None
) -> tuple[FullWindows, FullWindows | None]:
    """Windows to learn from, and windows to judge by."""
    if valid is None and (count := round(run.held_out * len(windows))):
        order = np.random.default_rng(run.loop.seed).permutation(len(windows))
        windows, valid = (
            FullWindows(windows.ids[rows], windows.labels[rows]) for rows in (order[count:], order[:count])
        )
    if not len(windows) or (valid is not None and not len(valid)):
        raise MixerError("there is no token to learn from; give longer texts")
    return windows, valid


def _validation(model: AutoencodingMixer, windows: FullWindows) -> Callable[[], float]:
    rows = np.random.default_rng(0).permutation(len(windows))[:_VALIDATION_WINDOWS]
    judged = FullWindows(windows.ids[rows], windows.labels[rows])
    return lambda: -reconstruction_of(model, judged).loss


def _decisive(run: AutoencoderRun, texts: Sequence[str], ranks: Ranks) -> dict[str, Any]:
    """What must not change when a run is resumed."""
    return {
        "kind": "autoencoder",
        "init": str(run.init) if run.init else None,
        "sizes": asdict(run.sizes),
        "batch_size": run.batch_size,
        "held_out": run.held_out,
        "valid": [str(path) for path in run.valid],
        "texts": len(texts),
        "characters": sum(map(len, texts)),
        **run.loop.decisive(ranks.size),
    }
