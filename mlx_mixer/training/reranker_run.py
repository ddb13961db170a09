"""`train reranker`: a retrieval mixer on embeddings that stay as they are, from pairs to a model folder.

The model sees the vector of a query and those of all candidates at once and learns, by cross-entropy, which of them
answers: see `mlx_mixer.models.retrieval`. It starts from the order of a search and learns what to add to its scores.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_mixer.checkpoint import resolve_model
from mlx_mixer.config_fields import Provenance
from mlx_mixer.documents.embedder_names import BUNDLED
from mlx_mixer.documents.measures import NOWHERE, Interval, bootstrap, reciprocal_ranks
from mlx_mixer.embedding import Embedder, load_embedder
from mlx_mixer.errors import MixerError, UsageError
from mlx_mixer.model_configs.retrieval import EMBEDDER_FINGERPRINT, EMBEDDER_NAME, RetrievalMixerConfig
from mlx_mixer.models.retrieval import RetrievalMixer, match_loss
from mlx_mixer.training.candidate_lists import NOT_THERE, CandidateLists, draw_lists, lists_of
from mlx_mixer.training.data import Pair, read_pairs
from mlx_mixer.training.frozen_pairs import embed_pairs
from mlx_mixer.training.hard_negatives import Numbers, SameText
from mlx_mixer.training.loop import Batch, LoopSettings, StepReport, TrainingSummary, train
from mlx_mixer.training.model_folder import write_model
from mlx_mixer.training.ranks import Ranks
from mlx_mixer.training.run_folder import RunFolder
from mlx_mixer.training.word_scores import WordScores

_VALIDATION_QUERIES = 500
_FIGURE_QUERIES = 2000
_LISTS_AT_ONCE = 64
# Share of the products of query and candidate that is left out at random. Without, 2,500 lists are learned by heart.
_DROPPED = 0.5


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
        words: Learn from searches by words and meaning, and start from their scores; otherwise by the cosine alone.
        mix_candidates: Train the mixing over rows as well, so that candidates count by what stands beside them;
            otherwise each is looked at alone.
        num_layers: Blocks.
        mixing_size: Their width.
        intermediate_size: Inner width of their channel mixing.
        batch_size: Lists of candidates of what one process computes at once; a step's batch is this times
            `loop.accumulate`, times the number of processes.
        loop: The loop's dials.
    """

    pairs: Sequence[Path]
    out: Path
    embedder: Path | None = None
    valid: Sequence[Path] = ()
    held_out: float = 0.1
    candidates: int = 50
    words: bool = True
    mix_candidates: bool = False
    num_layers: int = 2
    mixing_size: int = 64
    intermediate_size: int = 256
    batch_size: int = 32
    loop: LoopSettings

    def __post_init__(self) -> None:
        for name, least in (("candidates", 2), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if not 0 < self.held_out < 1:
            raise UsageError(f"held_out is {self.held_out}; it must be above 0 and below 1")


@dataclass(frozen=True)
class RerankerFigure:
    """How often one way of ordering has the right passage first, and how far up it has it.

    Attributes:
        order: "re-ranker", "cosine", "words" (BM25) or "search" (both, as a search fuses them).
        top1: Share of queries whose passage comes first, with its 95 % interval.
        mrr: Mean of 1 / rank, 0 beyond the first ten.
        top1_gain: Of the re-ranker over this one, query by query; `None` for itself.
        mrr_gain: The same of the reciprocal ranks.
    """

    order: str
    top1: Interval
    mrr: Interval
    top1_gain: Interval | None
    mrr_gain: Interval | None

    def line(self) -> tuple[str, str]:
        """Which order, and how it does, for people."""
        found = f"top-1 {100 * self.top1.mean:.1f} %, MRR {self.mrr.mean:.3f}"
        if self.top1_gain is None or self.mrr_gain is None:
            return self.order, found
        top1, mrr = self.top1_gain, self.mrr_gain
        return self.order, (
            f"{found}; re-ranker {100 * top1.mean:+.1f} [{100 * top1.low:+.1f}, {100 * top1.high:+.1f}] % and "
            f"{mrr.mean:+.3f} [{mrr.low:+.3f}, {mrr.high:+.3f}]"
        )


@dataclass(frozen=True)
class RerankerSummary:
    """How a re-ranker's run ended.

    Attributes:
        training: As for every run.
        queries: Held-out queries that were asked.
        candidates: Most candidates of each.
        figures: The re-ranker first, then what it is to be better than.
    """

    training: TrainingSummary
    queries: int
    candidates: int
    figures: tuple[RerankerFigure, ...]

    def heading(self) -> str:
        """What the figures are of, for people."""
        return f"{self.queries:,} held-out queries, best {self.candidates} candidates each; means and 95 % intervals"

    @property
    def is_better(self) -> bool:
        """Whether it beats every other order beyond doubt, by the reciprocal ranks."""
        return all(figure.mrr_gain.low > 0 for figure in self.figures if figure.mrr_gain is not None)


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
    mx.random.seed(run.loop.seed)
    folder = RunFolder(run.out)
    with folder.ranks.together():
        source = resolve_model(run.embedder)
        pairs, valid = _divided(run)
        embedder = load_embedder(source)
    folder.open(_decisive(run, embedder, pairs, valid, folder.ranks), resume=resume)
    narrate(f"{len(pairs):,} pairs to learn from, {len(valid):,} held out")
    narrate("embedding them, once")
    frozen = embed_pairs(pairs, embedder, folder.work / "pairs.npz", folder.ranks)
    held_out = embed_pairs(valid, embedder, folder.work / "valid.npz", folder.ranks)
    if run.words:
        narrate("indexing the words of the passages")
    lists = CandidateLists(frozen, _word_scores(run, pairs), min(run.candidates, len(pairs)))
    judged = CandidateLists(held_out, _word_scores(run, valid), min(run.candidates, len(valid), lists.count))
    model = RetrievalMixer(_config(run, embedder, lists.count, source))
    if not run.mix_candidates:
        for layer in model.layers:
            layer.token_mixing.freeze()  # as it starts: at nothing
    # What chooses the weights is not asked again for the figures.
    order = np.random.default_rng((run.loop.seed, 1)).permutation(len(valid))
    choosing, asked = np.split(order, [min(_VALIDATION_QUERIES, len(valid) // 2)])
    asked = asked[:_FIGURE_QUERIES]
    summary = train(
        model,
        dropping_loss,
        list_batches(lists, run, run.batch_size * run.loop.accumulate * folder.ranks.size),
        run.loop,
        folder,
        report=report,
        validate=_validation(_Ranker(model, judged, choosing)),
    )
    narrate("measuring it on held-out pairs")
    figures = _figures(_Ranker(model, judged, asked))
    result = RerankerSummary(summary, len(asked), judged.count, figures)
    rows = [(f"{name} ({result.heading()})", line) for name, line in (figure.line() for figure in figures)]
    write_model(folder, model, None, figures=rows)
    return result


def list_batches(lists: CandidateLists, run: RerankerRun, count: int) -> Callable[[int], tuple[Batch, int]]:
    """Batches of `count` lists by step, as `dropping_loss` takes them.

    Half of the batches have fewer candidates than the weights cover, as a search with few hits has.
    """
    sizes = sorted({max(2, lists.count * part // 8) for part in (2, 4, 6)})

    def batch_at(step: int) -> tuple[Batch, int]:
        rng = np.random.default_rng((run.loop.seed, step))
        size = lists.count if rng.random() < 0.5 else int(rng.choice(sizes))
        drawn = draw_lists(lists, count, size, rng)
        parts = drawn if run.words else (drawn.embeddings, drawn.places)
        keys = rng.integers(2**32, size=(len(drawn.places), 2), dtype=np.uint32)
        return tuple(mx.array(part) for part in (keys, *parts)), drawn.scores.size

    return batch_at


def dropping_loss(model: RetrievalMixer, keys: mx.array, embeddings: mx.array, *others: mx.array) -> mx.array:
    """`mlx_mixer.models.retrieval.match_loss` with half of what the model sees left out.

    Args:
        model: The model.
        keys: ``(B, 2)`` uint32: each decides what is left out of its own list, however a batch is shared out.
        embeddings: As there.
        others: As there.
    """
    _, rows, dims = embeddings.shape
    kept = mx.vmap(lambda key: mx.random.bernoulli(1 - _DROPPED, (rows - 1, dims), key=key))(keys)
    return match_loss(model, embeddings, *others, kept=kept / (1 - _DROPPED))


def _word_scores(run: RerankerRun, pairs: Sequence[Pair]) -> WordScores | None:
    if not run.words:
        return None
    return WordScores([query for pair in pairs for query in pair.queries], [pair.passage for pair in pairs])


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


def _config(run: RerankerRun, embedder: Embedder, candidates: int, source: Path) -> RetrievalMixerConfig:
    return RetrievalMixerConfig(
        hidden_size=embedder.dims,
        num_layers=run.num_layers,
        context_length=1 + candidates,
        intermediate_size=run.intermediate_size,
        rows="interactions",
        mixing_size=run.mixing_size,
        takes_scores=run.words,
        provenance=Provenance(
            source=f"embeddings of {source.name if run.embedder else 'the bundled model'}",
            family="reranker",
            hints={EMBEDDER_FINGERPRINT: embedder.fingerprint, EMBEDDER_NAME: source.name if run.embedder else BUNDLED},
        ),
    )


class _Ranker:
    """The hardest queries of some pairs, and the ranks of their passages by one order after another.

    Args:
        model: The re-ranker.
        lists: Candidates.
        asked: Pairs whose queries are asked.
    """

    def __init__(self, model: RetrievalMixer, lists: CandidateLists, asked: Numbers) -> None:
        self._model, self.takes_scores = model, model.config.takes_scores
        self.lists = [lists.of(int(pair)) for pair in asked]
        self._pairs, self._queries = lists.pairs, lists.pairs.first_query[asked]

    def cosines(self) -> list[np.ndarray[Any, Any]]:
        return [
            self._pairs.passages[found.pairs] @ self._pairs.queries[query]
            for found, query in zip(self.lists, self._queries, strict=True)
        ]

    def by_model(self) -> list[np.ndarray[Any, Any]]:
        scores: list[np.ndarray[Any, Any]] = []
        for start in range(0, len(self.lists), _LISTS_AT_ONCE):
            part = slice(start, start + _LISTS_AT_ONCE)
            rows = lists_of(self._pairs, self._queries[part], self.lists[part])
            given = [mx.array(rows.scores)] if self.takes_scores else []
            scores += list(np.array(self._model(mx.array(rows.embeddings), *given)))
        return scores

    def ranks(self, scores: Sequence[np.ndarray[Any, Any]]) -> Numbers:
        """Counted from 1; `NOWHERE` for a passage that the search did not find. Of equals the first in the list."""
        return np.array(
            [
                NOWHERE
                if found.place == NOT_THERE
                else 1 + np.flatnonzero(np.argsort(-values, kind="stable") == found.place)[0]
                for found, values in zip(self.lists, scores, strict=True)
            ],
            np.int64,
        )


def _validation(ranker: _Ranker) -> Callable[[], float]:
    """Mean reciprocal rank of the hardest queries of some pairs."""
    return lambda: float(reciprocal_ranks(ranker.ranks(ranker.by_model())).mean())


def _figures(ranker: _Ranker) -> tuple[RerankerFigure, ...]:
    orders = {"re-ranker": ranker.by_model(), "cosine": ranker.cosines()}
    if ranker.takes_scores:
        orders |= {"words": [found.words for found in ranker.lists], "search": [found.scores for found in ranker.lists]}
    ranks = {name: ranker.ranks(scores) for name, scores in orders.items()}
    own = ranks["re-ranker"]
    return tuple(
        RerankerFigure(
            name,
            bootstrap(_is_first(each)),
            bootstrap(reciprocal_ranks(each)),
            None if each is own else bootstrap(_is_first(own) - _is_first(each)),
            None if each is own else bootstrap(reciprocal_ranks(own) - reciprocal_ranks(each)),
        )
        for name, each in ranks.items()
    )


def _is_first(ranks: Numbers) -> np.ndarray[Any, np.dtype[np.float64]]:
    return (ranks == 1).astype(np.float64)


def _decisive(
    run: RerankerRun, embedder: Embedder, pairs: Sequence[Pair], valid: Sequence[Pair], ranks: Ranks
) -> dict[str, Any]:
    """What must not change when a run is resumed."""
    names = ("candidates", "words", "mix_candidates", "num_layers", "mixing_size", "intermediate_size", "batch_size")
    return {
        "kind": "reranker",
        "embedder": embedder.fingerprint,
        **{name: getattr(run, name) for name in names},
        "pairs": len(pairs),
        "valid": len(valid),
        "characters": sum(len(pair.passage) for pair in [*pairs, *valid]),
        **run.loop.decisive(ranks.size),
    }
