"""`train reranker`: a retrieval mixer on embeddings that stay as they are, from pairs to a model folder.

The model sees the vector of a query and those of all candidates at once and learns, by cross-entropy, which of them
answers: see `mlx_mixer.models.retrieval`. Source: https://arxiv.org/abs/2409.01482, the retrieval model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_mixer.checkpoint import resolve_model
from mlx_mixer.config_fields import Provenance
from mlx_mixer.embedding import Embedder, load_embedder
from mlx_mixer.errors import MixerError, UsageError
from mlx_mixer.model_configs.retrieval import RetrievalMixerConfig
from mlx_mixer.models.retrieval import RetrievalMixer, match_loss
from mlx_mixer.training.data import Pair, read_pairs
from mlx_mixer.training.frozen_pairs import FrozenPairs, draw_candidates, embed_pairs, rows_of
from mlx_mixer.training.hard_negatives import Numbers, SameText
from mlx_mixer.training.loop import Batch, LoopSettings, StepReport, TrainingSummary, train
from mlx_mixer.training.model_folder import write_model
from mlx_mixer.training.ranks import current_ranks
from mlx_mixer.training.run_folder import RunFolder

_VALIDATION_QUERIES = 500
_FIGURE_QUERIES = 2000
_LISTS_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class RerankerRun:
    """Everything that decides a re-ranker's run.

    Attributes:
        pairs: Files of query-passage pairs.
        out: Model folder to make.
        embedder: Model folder whose vectors it is for; the bundled model if unset.
        valid: Files of pairs that decide which weights are kept, and that the figures are of.
        held_out: Share of the pairs that is kept out of training for that, if no valid files are given.
        candidates: Most candidates the model sees at once.
        hard_share: Share of the wrong ones that lie nearest to the query; the others are drawn at random.
        num_layers: Blocks.
        intermediate_size: Inner width of their channel mixing.
        batch_size: Lists of candidates of a batch.
        loop: The loop's dials.
    """

    pairs: Sequence[Path]
    out: Path
    embedder: Path | None = None
    valid: Sequence[Path] = ()
    held_out: float = 0.1
    candidates: int = 50
    hard_share: float = 0.5
    num_layers: int = 4
    intermediate_size: int = 1024
    batch_size: int = 32
    loop: LoopSettings

    def __post_init__(self) -> None:
        for name, least in (("candidates", 2), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if not 0 <= self.hard_share <= 1:
            raise UsageError(f"hard_share is {self.hard_share}; it must be from 0 to 1")
        if not 0 < self.held_out < 1:
            raise UsageError(f"held_out is {self.held_out}; it must be above 0 and below 1")


@dataclass(frozen=True)
class RerankerTop1:
    """How often the right passage comes first, on the same lists of held-out queries.

    Attributes:
        among: What the wrong candidates are: "random" passages, or the "nearest", as in a search.
        candidates: Candidates of a list.
        queries: Lists.
        reranker: Accuracy of the re-ranker, from 0 to 1.
        cosine: Accuracy of the plain cosine.
        half_width: Half the 95 % interval of their difference, list by list.
    """

    among: str
    candidates: int
    queries: int
    reranker: float
    cosine: float
    half_width: float

    def line(self) -> tuple[str, str]:
        """What was measured, and the outcome, for people."""
        found = f"re-ranker {100 * self.reranker:.1f} %, cosine {100 * self.cosine:.1f} %"
        return (
            f"top-1 of {self.queries:,} held-out queries among {self.candidates} {self.among} passages",
            f"{found}, difference ± {100 * self.half_width:.1f}",
        )


@dataclass(frozen=True)
class RerankerSummary:
    """How a re-ranker's run ended.

    Attributes:
        training: As for every run.
        top1: Figures on held-out pairs.
    """

    training: TrainingSummary
    top1: tuple[RerankerTop1, ...] = field(default=())


def train_reranker(
    run: RerankerRun, *, resume: bool, report: Callable[[StepReport], None], narrate: Callable[[str], None]
) -> RerankerSummary:
    """Train a re-ranker, write its folder and measure it.

    Args:
        run: What to do.
        resume: Go on with an unfinished run of the same settings.
        report: Told after every step.
        narrate: Told what is being prepared.

    Raises:
        MixerError: If the data, the settings or the folder cannot be used, or the loss stops being a number.
    """
    current_ranks().require_one("train reranker")
    mx.random.seed(run.loop.seed)
    source = resolve_model(run.embedder)
    pairs, valid = _divided(run)
    embedder = load_embedder(source)
    folder = RunFolder(run.out)
    folder.open(_decisive(run, embedder, pairs, valid), resume=resume)
    narrate(f"{len(pairs):,} pairs to learn from, {len(valid):,} held out")
    narrate("embedding them, once")
    frozen = embed_pairs(pairs, embedder, folder.work / "pairs.npz")
    held_out = embed_pairs(valid, embedder, folder.work / "valid.npz")
    rows, judged = (1 + min(run.candidates, len(side)) for side in (pairs, valid))
    model = RetrievalMixer(_config(run, embedder, rows, source))
    summary = train(
        model,
        match_loss,
        list_batches(frozen, rows, run),
        run.loop,
        folder,
        report=report,
        validate=_validation(model, held_out, judged, run),
    )
    narrate("measuring it on held-out pairs")
    figures = tuple(_figures(model, held_out, judged, among, run.loop.seed) for among in ("random", "nearest"))
    write_model(folder, model, None, figures=[figure.line() for figure in figures])
    return RerankerSummary(summary, figures)


def list_batches(pairs: FrozenPairs, rows: int, run: RerankerRun) -> Callable[[int], tuple[Batch, int]]:
    """Batches by step: ``(B, L, D)`` rows and ``(B,)`` the place of the right candidate.

    Half of the batches have fewer rows than the weights cover, as a search with few hits has.
    """
    sizes = sorted({max(3, rows * part // 8) for part in (2, 4, 6)})

    def batch_at(step: int) -> tuple[Batch, int]:
        rng = np.random.default_rng((run.loop.seed, step))
        size = rows if rng.random() < 0.5 else int(rng.choice(sizes))
        chosen = rng.choice(len(pairs), min(run.batch_size, len(pairs)), replace=False)
        candidates, places = draw_candidates(pairs, chosen, size, run.hard_share, rng)
        queries = pairs.first_query[chosen] + rng.integers(pairs.ways[chosen])
        return (mx.array(rows_of(pairs, queries, candidates)), mx.array(places)), candidates.size

    return batch_at


def _divided(run: RerankerRun) -> tuple[list[Pair], list[Pair]]:
    """Pairs to learn from, and pairs to judge by."""
    pairs = read_pairs(run.pairs)
    if run.valid:
        valid = read_pairs(run.valid)
    else:
        # Texts that say the same stay on one side.
        groups = SameText(pairs).groups
        order = np.random.default_rng(run.loop.seed).permutation(np.unique(groups))
        held_out = np.isin(groups, order[: max(2, round(run.held_out * len(order)))])
        pairs, valid = ([pair for pair, out in zip(pairs, held_out, strict=True) if out == side] for side in (0, 1))
    if min(len(pairs), len(valid)) < 2:
        raise MixerError(
            f"{len(pairs)} pairs to learn from and {len(valid)} to judge by are too few for a re-ranker; give at least "
            "2 of each"
        )
    return pairs, valid


def _config(run: RerankerRun, embedder: Embedder, rows: int, source: Path) -> RetrievalMixerConfig:
    return RetrievalMixerConfig(
        hidden_size=embedder.dims,
        num_layers=run.num_layers,
        context_length=rows,
        intermediate_size=run.intermediate_size,
        provenance=Provenance(
            source=f"embeddings of {source.name}",
            family="reranker",
            hints={"embedder_fingerprint": embedder.fingerprint},
        ),
    )


def _validation(model: RetrievalMixer, pairs: FrozenPairs, rows: int, run: RerankerRun) -> Callable[[], float]:
    """Top-1 accuracy on lists made as those of training are."""
    rng = np.random.default_rng((run.loop.seed, 1))
    chosen = rng.permutation(len(pairs))[:_VALIDATION_QUERIES]
    candidates, places = draw_candidates(pairs, chosen, rows, run.hard_share, rng)
    return lambda: float((_best(model, pairs, chosen, candidates) == places).mean())


def _best(model: RetrievalMixer, pairs: FrozenPairs, chosen: Numbers, candidates: Numbers) -> Numbers:
    """The candidate that the model puts first for the hardest query of each pair."""
    found = []
    for start in range(0, len(chosen), _LISTS_AT_ONCE):
        part = slice(start, start + _LISTS_AT_ONCE)
        rows = mx.array(rows_of(pairs, pairs.first_query[chosen[part]], candidates[part]))
        found.append(np.array(model(rows).argmax(axis=1)))
    return np.concatenate(found).astype(np.int64)


def _figures(model: RetrievalMixer, pairs: FrozenPairs, rows: int, among: str, seed: int) -> RerankerTop1:
    rng = np.random.default_rng((seed, 2))
    chosen = rng.permutation(len(pairs))[:_FIGURE_QUERIES]
    candidates, places = draw_candidates(pairs, chosen, rows, float(among == "nearest"), rng)
    asked = pairs.queries[pairs.first_query[chosen]]
    cosines = np.einsum("bd,bnd->bn", asked, pairs.passages[candidates])
    by_model = _best(model, pairs, chosen, candidates) == places
    by_cosine = cosines.argmax(axis=1) == places
    difference = by_model.astype(float) - by_cosine
    half_width = 1.96 * float(difference.std()) / len(chosen) ** 0.5
    return RerankerTop1(among, rows - 1, len(chosen), float(by_model.mean()), float(by_cosine.mean()), half_width)


def _decisive(run: RerankerRun, embedder: Embedder, pairs: Sequence[Pair], valid: Sequence[Pair]) -> dict[str, Any]:
    """What must not change when a run is resumed."""
    names = ("candidates", "hard_share", "num_layers", "intermediate_size", "batch_size")
    return {
        "kind": "reranker",
        "embedder": embedder.fingerprint,
        **{name: getattr(run, name) for name in names},
        "pairs": len(pairs),
        "valid": len(valid),
        "characters": sum(len(pair.passage) for pair in [*pairs, *valid]),
        **run.loop.decisive(),
    }
