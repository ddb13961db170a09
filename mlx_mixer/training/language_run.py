"""`train language` from files to a model folder."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx

from mlx_mixer.checkpoint import load_language_model
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.errors import MixerError, UsageError
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.training.data import read_texts
from mlx_mixer.training.held_out import held_out_score, read_held_out
from mlx_mixer.training.language import language_batches, language_loss, split_targets
from mlx_mixer.training.loop import LoopSettings, StepReport, TrainingSummary, train
from mlx_mixer.training.lora import merge_adapters
from mlx_mixer.training.model_folder import write_model
from mlx_mixer.training.ranks import Ranks
from mlx_mixer.training.run_folder import RunFolder
from mlx_mixer.training.start import fresh_model
from mlx_mixer.training.token_vectors import cooccurrence_vectors
from mlx_mixer.training.tokenizer import EOS_ID, load_encoder, vocabulary_size
from mlx_mixer.training.tuning import Tuning, trained_share
from mlx_mixer.training.windows import cut_windows


@dataclass(frozen=True, kw_only=True)
class ModelSizes:
    """Sizes of a fresh model; see `mlx_mixer.config.LanguageMixerConfig`."""

    hidden_size: int = 256
    num_layers: int = 4
    context_length: int = 256
    intermediate_size: int = 512


@dataclass(frozen=True, kw_only=True)
class LanguageRun:
    """Everything that decides a language run.

    Attributes:
        data: Files, folders and libraries; see `mlx_mixer.training.text_sources`.
        out: Model folder to make.
        init: Model folder to start from; a fresh model if unset.
        tokenizer: Folder of the tokenizer of a fresh model.
        sizes: Sizes of a fresh model.
        tokens_per_batch: Positions of what one process computes at once; a step's batch is this times
            `loop.accumulate`, times the number of processes.
        valid: Files and folders of held-out text that decides which weights are kept and when to stop.
        pack: Put several short texts in one window; see `mlx_mixer.training.windows.cut_windows`.
        tuning: Which weights of `init` are trained.
        keep_embeddings: Leave token vectors and pooling as they are, so that a model that finds goes on finding.
        half: Write weights in float16.
        loop: The loop's dials.
    """

    data: Sequence[Path]
    out: Path
    init: Path | None = None
    tokenizer: Path | None = None
    sizes: ModelSizes = field(default_factory=ModelSizes)
    tokens_per_batch: int = 4096
    valid: Sequence[Path] = ()
    pack: bool = False
    tuning: Tuning = field(default_factory=Tuning)
    keep_embeddings: bool = False
    half: bool = False
    loop: LoopSettings

    def __post_init__(self) -> None:
        if (self.init is None) == (self.tokenizer is None):
            raise UsageError("give --tokenizer FOLDER for a fresh model or --init MODEL to go on with one, not both")
        if self.tuning.is_partial and self.init is None:
            raise UsageError("lora and last_layers adapt a model that has learned already; give it as --init MODEL")
        if self.tokens_per_batch < 2:
            raise UsageError(f"tokens_per_batch is {self.tokens_per_batch}; it must be at least 2")


def train_language(
    run: LanguageRun, *, resume: bool, report: Callable[[StepReport], None], narrate: Callable[[str], None]
) -> TrainingSummary:
    """Train a language model and write its folder.

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
        model = load_language_model(run.init, as_stored=False) if run.init else None
        config = model.config if model else _fresh_config(run)
        tokenised = encode(texts)
        windows = cut_windows(tokenised, config.context_length, _eos_of(config), pack=run.pack)
        if not windows.ids:
            raise MixerError(f"there is no token to predict in {len(texts)} texts; give longer ones")
        valid = read_held_out(run.valid, encode, windows) if run.valid else None
    folder.open(_decisive(run, texts, folder.ranks), resume=resume)
    narrate(f"{len(texts):,} texts, {windows.num_tokens:,} tokens in {len(windows.ids):,} windows")
    model = model or _fresh_model(run, config, tokenised, folder, narrate)
    run.tuning.apply(model)
    if run.tuning.is_partial:
        trained, whole = trained_share(model)
        narrate(f"training {trained:,} of {whole:,} numbers ({100 * trained / whole:.1f} %)")
    if config.pooling in ("static", "contextual"):
        # They have no part in writing, and weight decay would wear them away.
        for name in ("pooling", "word_pooling"):
            if name in model:
                model[name].freeze()
    if run.keep_embeddings:
        model.freeze(keys=["token_weight", "layer_gate"])
        model.embed_tokens.freeze()
    tokens_per_step = run.tokens_per_batch * run.loop.accumulate * folder.ranks.size
    summary = train(
        model,
        language_loss,
        language_batches(windows, tokens_per_step, run.loop.seed),
        run.loop,
        folder,
        report=report,
        validate=partial(held_out_score, model, valid) if valid else None,
        split=split_targets,
        in_lanes=True,
    )
    merge_adapters(model)
    write_model(folder, model, source, half=run.half)
    return summary


def _fresh_config(run: LanguageRun) -> LanguageMixerConfig:
    assert run.tokenizer is not None
    return LanguageMixerConfig(
        vocab_size=vocabulary_size(run.tokenizer),
        pooling="token_weighted",
        eos_token_id=EOS_ID,
        **asdict(run.sizes),
    )


def _fresh_model(
    run: LanguageRun,
    config: LanguageMixerConfig,
    tokenised: list[list[int]],
    folder: RunFolder,
    narrate: Callable[[str], None],
) -> LanguageMixer:
    if folder.has_checkpoint:
        return LanguageMixer(config)
    if min(len(tokenised), config.vocab_size) < config.hidden_size:
        narrate(f"{len(tokenised)} texts are too few for token vectors from co-occurrence; they start random")
        return fresh_model(config, None)
    narrate("computing token vectors from co-occurrence")
    return fresh_model(config, cooccurrence_vectors(tokenised, config.vocab_size, config.hidden_size, run.loop.seed))


def _eos_of(config: LanguageMixerConfig) -> int:
    if config.eos_token_id is None:
        raise MixerError("the model's config.json has no eos_token_id; training needs one to end texts with")
    return config.eos_token_id


def _decisive(run: LanguageRun, texts: Sequence[str], ranks: Ranks) -> dict[str, Any]:
    """What must not change when a run is resumed."""
    return {
        "kind": "language",
        "init": str(run.init) if run.init else None,
        "sizes": asdict(run.sizes),
        "tokens_per_batch": run.tokens_per_batch,
        "pack": run.pack,
        "tuning": asdict(run.tuning),
        "keep_embeddings": run.keep_embeddings,
        "texts": len(texts),
        "characters": sum(map(len, texts)),
        "valid": [str(path) for path in run.valid],
        **run.loop.decisive(ranks.size),
    }
