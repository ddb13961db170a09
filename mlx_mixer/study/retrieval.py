"""Study 3: whose embeddings find the right passage?

The paper's claim: embeddings of masked mixers are better for retrieval than those of transformers trained alike, both
as they are (a retrieval mixer over frozen embeddings) and after training with InfoNCE.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from mlx_mixer.study.cells import Cell, Cells, Work
from mlx_mixer.study.direct import Direct, direct_plan
from mlx_mixer.study.embeddings import end_states, pair_vectors, top1_figures, unit
from mlx_mixer.study.language import language_race
from mlx_mixer.study.pairs import PairIds, PairTexts, pair_ids
from mlx_mixer.study.race import Race, Task
from mlx_mixer.study.settings import NAMES, RetrievalSettings
from mlx_mixer.study.texts import TokenTexts
from mlx_mixer.training.bm25 import BM25Scorer
from mlx_mixer.training.contrastive import info_nce
from mlx_mixer.training.evaluate import Scorer, top1_among, vector_scorer
from mlx_mixer.training.loop import Batch
from mlx_mixer.training.unit_rows import unit_rows

_HELD_OUT_BATCHES = 4
STAGES = ("untrained", "next-token", "InfoNCE")


def retrieval_plan(settings: RetrievalSettings) -> list[Work]:
    """What there is to compute."""
    plan = Race.plan("language", NAMES, settings) + Race.plan("InfoNCE", NAMES, settings)
    plan += [work for slots in settings.direct_slots for work in direct_plan(slots, settings)]
    return [*plan, *(Work(f"{stage} {name} top-1", 8.0) for stage in STAGES for name in NAMES), Work("BM25", 20.0)]


def study_retrieval(pairs: PairTexts, texts: TokenTexts, settings: RetrievalSettings, cells: Cells) -> dict[str, Any]:
    """Train both models alike, first on next tokens and then to find passages, and count how often they do.

    Returns:
        "training" (see `Race.run`) by stage, and "rows": for each stage and model its top-1 accuracy among n
        candidates, as "top1" ``{n: {"accuracy", "half_width", "queries"}}``.
    """
    train, choose, report = (
        pair_ids(part, texts.encode, settings) for part in (pairs.train, pairs.choose, pairs.report)
    )
    language = language_race("language", texts, settings.context_length, settings, cells)
    contrast = _contrast_race(language, train, choose, report, settings, cells)
    training = {"next-token": language.run(), "InfoNCE": contrast.run()}
    models: dict[str, Callable[[str], Any]] = {
        "untrained": language.fresh,
        "next-token": language.load,
        "InfoNCE": contrast.load,
    }
    rows = []
    for stage, load in models.items():
        for name in NAMES:
            found = cells.get(f"{stage} {name} top-1", partial(_cosine_top1, load, name, report, settings))
            rows.append({"stage": stage, "model": name, **found})
    for slots in settings.direct_slots:
        stage = f"direct, {slots} slots"
        direct = {
            name: Direct(partial(language.load, name), name, slots, (train, choose, report), settings, cells)
            for name in NAMES
        }
        training[stage] = {name: direct[name].train() for name in NAMES}
        rows += [{"stage": stage, "model": name, **direct[name].top1()} for name in NAMES]
    keywords = BM25Scorer([pair.queries[0] for pair in pairs.report], [pair.passage for pair in pairs.report])
    rows.append(
        {"stage": "BM25", "model": "words", **cells.get("BM25", lambda: _top1(keywords, len(report), settings))}
    )
    return {"training": training, "rows": rows}


def _contrast_race(
    language: Race, train: PairIds, choose: PairIds, report: PairIds, settings: RetrievalSettings, cells: Cells
) -> Race:
    size = min(settings.pairs_per_batch, len(choose), len(report))

    def batch_at(step: int) -> tuple[Batch, int]:
        rows = np.random.default_rng((settings.seed, step)).choice(len(train), min(size, len(train)), replace=False)
        tokens = int((train.query_ends[rows] + train.passage_ends[rows] + 2).sum())
        return _batch(train, rows), tokens

    def loss(model: Any, *batch: mx.array) -> mx.array:
        queries, query_ends, passages, passage_ends = batch
        asked = unit(end_states(model, queries, query_ends))
        return info_nce(asked, unit(end_states(model, passages, passage_ends)), settings.temperature)

    def held_out(part: PairIds, model: Any) -> float:
        starts = range(0, min(len(part), _HELD_OUT_BATCHES * size) - size + 1, size)
        return float(np.mean([float(loss(model, *_batch(part, np.arange(s, s + size)))) for s in starts]))

    def flops(model: Any) -> float:
        lengths = (settings.query_length, settings.context_length - 1)
        return size * sum(model.flops(length, with_head=False) for length in lengths)

    task = Task("InfoNCE", loss, batch_at, partial(held_out, choose), partial(held_out, report), flops)
    return Race(task, {name: partial(language.load, name) for name in NAMES}, settings, cells)


def _cosine_top1(load: Callable[[str], Any], name: str, report: PairIds, settings: RetrievalSettings) -> Cell:
    queries, passages = map(unit_rows, pair_vectors(load(name), report))
    return _top1(vector_scorer(queries, passages), len(report), settings)


def _top1(scorer: Scorer, count: int, settings: RetrievalSettings) -> Cell:
    mask = np.ones(count, bool)
    found = {
        str(n): top1_figures(top1_among(n, mask, scorer, queries=settings.queries, seed=settings.seed))
        for n in settings.candidates
        if n <= count
    }
    return {"top1": found}


def _batch(pairs: PairIds, rows: npt.NDArray[Any]) -> tuple[mx.array, ...]:
    arrays = (pairs.queries, pairs.query_ends, pairs.passages, pairs.passage_ends)
    return tuple(mx.array(array[rows]) for array in arrays)
