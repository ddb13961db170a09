"""`train retrieval` from files to a model folder."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_mixer.checkpoint import load_language_model
from mlx_mixer.embedding import fold
from mlx_mixer.errors import MixerError, UnsupportedModelError
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.training.contrastive import bag_embeddings, info_nce, text_embeddings
from mlx_mixer.training.data import Pair, read_pairs
from mlx_mixer.training.embed import embed_bags, embed_windows
from mlx_mixer.training.evaluate import top1_among, vector_scorer
from mlx_mixer.training.loop import LoopSettings, StepReport, TrainingSummary, train
from mlx_mixer.training.model_folder import write_model
from mlx_mixer.training.pair_batches import (
    PairSettings,
    TokenPairs,
    bag_batches,
    encode_pairs,
    window_batches,
)
from mlx_mixer.training.run_folder import RunFolder
from mlx_mixer.training.tokenizer import Encode, load_encoder


@dataclass(frozen=True, kw_only=True)
class RetrievalRun:
    """Everything that decides a retrieval run.

    Attributes:
        pairs: Files of query-passage pairs.
        init: Model folder to start from, with "token_weighted" pooling.
        out: Model folder to make.
        valid: Files of pairs that decide which weights are kept and when to stop.
        temperature: Of InfoNCE.
        through_blocks: Train the blocks and their gates too, instead of token vectors and weights alone.
        fold_case: Embed texts in lower case.
        drawing: How pairs are drawn.
        half: Write weights in float16.
        loop: The loop's dials.
    """

    pairs: Sequence[Path]
    init: Path
    out: Path
    valid: Sequence[Path] = ()
    temperature: float = 0.04
    through_blocks: bool = False
    fold_case: bool = True
    drawing: PairSettings = field(default_factory=PairSettings)
    half: bool = False
    loop: LoopSettings

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise MixerError(f"temperature is {self.temperature}; it must be above 0")


def train_retrieval(
    run: RetrievalRun, *, resume: bool, report: Callable[[StepReport], None], narrate: Callable[[str], None]
) -> TrainingSummary:
    """Train a model to find passages and write its folder.

    Args:
        run: What to do.
        resume: Go on with an unfinished run of the same settings.
        report: Told after every step.
        narrate: Told what is being prepared.

    Raises:
        MixerError: If the data, the settings or the folder cannot be used, or the loss stops being a number.
    """
    mx.random.seed(run.loop.seed)
    pairs = read_pairs(run.pairs)
    if len(pairs) < 2:
        raise MixerError("there is one pair; each needs at least one other to be told from")
    model = _trainable_model(run)
    encode = load_encoder(run.init)
    folder = RunFolder(run.out)
    folder.open(_decisive(run, pairs), resume=resume)
    narrate(f"{len(pairs):,} pairs")
    tokens = _encoded(pairs, run, encode)
    if run.through_blocks:
        batches = window_batches(tokens, run.drawing, model.config.context_length, run.loop.seed)
        loss = _window_loss(run.temperature, min(run.drawing.batch_size, len(pairs)))
    else:
        batches = bag_batches(tokens, run.drawing, model.config.vocab_size, run.loop.seed)
        loss = _bag_loss(run.temperature)
    validate = _validation(run, encode, model) if run.valid else None
    summary = train(model, loss, batches, run.loop, folder, report=report, validate=validate)
    config = replace(model.config, temperature=run.temperature, fold_case=run.fold_case)
    write_model(folder, model, run.init, config=config, half=run.half)
    return summary


def _trainable_model(run: RetrievalRun) -> LanguageMixer:
    model = load_language_model(run.init, as_stored=False)
    if model.config.pooling != "token_weighted":
        raise UnsupportedModelError(
            f"{run.init} pools by {model.config.pooling!r}; retrieval is trained for 'token_weighted' pooling"
        )
    model.freeze()
    model.embed_tokens.unfreeze()
    model.pooling.unfreeze()
    if run.through_blocks:
        for layer in model.layers:
            layer.unfreeze()
    return model


def _bag_loss(temperature: float) -> Callable[..., mx.array]:
    def loss(model: LanguageMixer, queries: mx.array, passages: mx.array) -> mx.array:
        return info_nce(bag_embeddings(model, queries), bag_embeddings(model, passages), temperature)

    return loss


def _window_loss(temperature: float, count: int) -> Callable[..., mx.array]:
    def loss(model: LanguageMixer, *windows: mx.array) -> mx.array:
        (q_ids, q_lengths, q_texts), (p_ids, p_lengths, p_texts) = windows[:3], windows[3:]
        queries = text_embeddings(model, q_ids, q_lengths, q_texts, count)
        return info_nce(queries, text_embeddings(model, p_ids, p_lengths, p_texts, count), temperature)

    return loss


def _validation(run: RetrievalRun, encode: Encode, model: LanguageMixer) -> Callable[[], float]:
    """Top-1 accuracy of the hard queries among at most 512 passages of the valid files."""
    pairs = [pair for pair in read_pairs(run.valid) if pair.hard_query]
    if not pairs:
        raise MixerError("no pair of the valid files has a 'query_hard'")
    tokens = _encoded(pairs, run, encode)
    sides = ([queries[0] for queries in tokens.queries], tokens.passages)
    embed = embed_windows if run.through_blocks else embed_bags

    def score() -> float:
        scorer = vector_scorer(*(embed(model, side) for side in sides))
        count = len(pairs)
        found = top1_among(min(512, count), count, np.ones(count, bool), scorer, queries=1000, seed=0)
        return found.accuracy

    return score


def _encoded(pairs: Sequence[Pair], run: RetrievalRun, encode: Encode) -> TokenPairs:
    if run.fold_case:
        pairs = [replace(pair, passage=fold(pair.passage), queries=tuple(map(fold, pair.queries))) for pair in pairs]
    return encode_pairs(pairs, encode)


def _decisive(run: RetrievalRun, pairs: Sequence[Pair]) -> dict[str, Any]:
    """What must not change when a run is resumed."""
    return {
        "kind": "retrieval",
        "init": str(run.init),
        "temperature": run.temperature,
        "through_blocks": run.through_blocks,
        "fold_case": run.fold_case,
        "pairs": len(pairs),
        "characters": sum(len(pair.passage) for pair in pairs),
        **asdict(run.drawing),
        **asdict(run.loop),
    }
