"""The figures of a model on valid files: how it writes, how it finds, and what keywords alone find."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlx_mixer.checkpoint import load_language_model
from mlx_mixer.embedding import load_embedder
from mlx_mixer.errors import MixerError
from mlx_mixer.training.bm25 import BM25Scorer
from mlx_mixer.training.data import Pair, read_pairs
from mlx_mixer.training.distillation import read_vectors
from mlx_mixer.training.evaluate import hard_query_mask, language_score, shortened
from mlx_mixer.training.side_by_side import WORDS, Outcomes, Vectors, both, compare
from mlx_mixer.training.tokenizer import load_encoder
from mlx_mixer.training.windows import cut_windows

CANDIDATES = (32, 128, 512, 1024, 2048)
MODEL = "mixer"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a model is measured.

    Attributes:
        queries: Queries per file and number of candidates, at least.
        seed: Decides the trials, which are the same for all that is compared.
        dims: How many of the first values of the model's vectors are compared; all of them if unset.
        writing: Whether perplexity is measured too, which takes longer than all else.
        beside: Files of other encoders' vectors of the same pairs, by name; see `distillation.read_vectors`.
    """

    queries: int = 2000
    seed: int = 0
    dims: int | None = None
    writing: bool = True
    beside: Mapping[str, Path]


def evaluate_model(
    model: Path, files: Sequence[Path], settings: Settings, narrate: Callable[[str], None]
) -> dict[str, Any]:
    """Measure a model folder on files of pairs.

    Args:
        model: The folder.
        files: Files of pairs with hard queries.
        settings: How.
        narrate: Told what is being measured.

    Returns:
        By file name: perplexity per token and bits per byte, if asked for, and a row for each number of candidates. A
        row has the top-1 accuracy in percent of the model ("mixer"), of BM25 ("bm25"), of both together ("mixer+bm25")
        and the same for what stands beside; half of the 95 % interval of the model's; and under "differences" how many
        points what comes first is ahead of what comes second, with half of the 95 % interval, paired by query.
    """
    pairs = {file: read_pairs([file]) for file in files}
    for file, found in pairs.items():
        if not any(pair.hard_query for pair in found):
            raise MixerError(f"no record of {file} has a 'query_hard'")
    others = _split_by_file(settings.beside, pairs)
    return {file.name: _file_figures(model, file, pairs[file], others[file], settings, narrate) for file in files}


def _split_by_file(
    beside: Mapping[str, Path], pairs: Mapping[Path, Sequence[Pair]]
) -> dict[Path, dict[str, tuple[Vectors, Vectors]]]:
    """By file and name: a vector of each pair's first query, and of its passage."""
    split: dict[Path, dict[str, tuple[Vectors, Vectors]]] = {file: {} for file in pairs}
    for name, path in beside.items():
        passages, queries = read_vectors(path, [pair for found in pairs.values() for pair in found])
        passage = query = 0
        for file, found in pairs.items():
            first = query + np.cumsum([0, *(len(pair.queries) for pair in found)])
            split[file][name] = (queries[first[:-1]], passages[passage : passage + len(found)])
            passage, query = passage + len(found), int(first[-1])
    return split


def _file_figures(
    model: Path,
    file: Path,
    pairs: Sequence[Pair],
    others: Mapping[str, tuple[Vectors, Vectors]],
    settings: Settings,
    narrate: Callable[[str], None],
) -> dict[str, Any]:
    figures: dict[str, Any] = {"passages": len(pairs)}
    if settings.writing:
        narrate(f"{file.name}: perplexity of {len(pairs):,} passages")
        figures |= _writing_figures(model, [pair.passage for pair in pairs])
    narrate(f"{file.name}: embedding")
    embedder = load_embedder(model)
    asked, passages = [pair.hard_query for pair in pairs], [pair.passage for pair in pairs]
    queries, found = (
        shortened(embedder.embed([text or "" for text in side]), settings.dims) for side in (asked, passages)
    )
    vectors = {MODEL: (queries, found), **others}
    words, mask = BM25Scorer(asked, passages), hard_query_mask(asked)
    top1 = []
    for candidates in (count for count in CANDIDATES if count <= len(pairs)):
        narrate(f"{file.name}: top-1 among {candidates}")
        outcomes = compare(candidates, mask, words, vectors, queries=settings.queries, seed=settings.seed)
        top1.append(_row(outcomes, list(others)))
    return {**figures, "top1": top1}


def _writing_figures(model: Path, passages: Sequence[str]) -> dict[str, Any]:
    loaded = load_language_model(model)
    eos = loaded.config.eos_token_id
    if eos is None:
        raise MixerError(f"{model} has no eos_token_id in its config.json; perplexity needs one")
    windows = cut_windows(load_encoder(model)(passages), loaded.config.context_length, eos)
    score = language_score(loaded, windows, sum(len(passage.encode()) for passage in passages))
    return {
        "tokens": score.tokens,
        "perplexity": round(score.perplexity, 2),
        "bits_per_byte": round(score.bits_per_byte, 4),
    }


def _row(outcomes: Outcomes, others: Sequence[str]) -> dict[str, Any]:
    rivals = [WORDS, *others, *map(both, others)]
    apart = [(both(MODEL), rival) for rival in rivals] + [(MODEL, rival) for rival in (WORDS, *others)]
    return {
        "candidates": outcomes.candidates,
        **{name: _percent(outcomes.accuracy(name)) for name in outcomes.right},
        "half_width": _percent(outcomes.half_width(MODEL)),
        "queries": len(outcomes.records),
        "differences": [
            {"first": first, "second": second, "points": _percent(mean), "half_width": _percent(half)}
            for first, second in apart
            for mean, half in [outcomes.difference(first, second)]
        ],
    }


def _percent(share: float) -> float:
    return round(100 * share, 1)
