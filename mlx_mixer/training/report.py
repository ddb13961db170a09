"""The figures of a model on valid files: how it writes, how it finds, and what keywords alone find."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlx_mixer.checkpoint import load_language_model
from mlx_mixer.embedding import load_embedder
from mlx_mixer.errors import MixerError
from mlx_mixer.training.bm25 import BM25Scorer
from mlx_mixer.training.data import read_pairs
from mlx_mixer.training.evaluate import (
    Scorer,
    Top1,
    hard_query_mask,
    language_score,
    shortened,
    top1_among,
    vector_scorer,
)
from mlx_mixer.training.tokenizer import load_encoder
from mlx_mixer.training.windows import cut_windows

CANDIDATES = (32, 128, 512, 1024, 2048)


def evaluate_model(
    model: Path,
    files: Sequence[Path],
    *,
    queries: int,
    seed: int,
    narrate: Callable[[str], None],
    dims: int | None = None,
) -> dict[str, Any]:
    """Measure a model folder on files of pairs.

    Args:
        model: The folder.
        files: Files of pairs with hard queries.
        queries: Queries per file and number of candidates, at least.
        seed: Decides the trials, which are the same for the model and for BM25.
        narrate: Told what is being measured.
        dims: How many of the first values of a vector are compared; all of them if unset.

    Returns:
        By file name: perplexity per token, bits per byte, and for each number of candidates the top-1 accuracy in
        percent of the model ("mixer") and of BM25, with the half-width of the model's 95 % interval.
    """
    return {file.name: _file_figures(model, file, queries, seed, narrate, dims) for file in files}


def _file_figures(
    model: Path, file: Path, queries: int, seed: int, narrate: Callable[[str], None], dims: int | None
) -> dict[str, Any]:
    pairs = read_pairs([file])
    if not any(pair.hard_query for pair in pairs):
        raise MixerError(f"no record of {file} has a 'query_hard'")
    narrate(f"{file.name}: perplexity of {len(pairs):,} passages")
    figures = _writing_figures(model, [pair.passage for pair in pairs])
    narrate(f"{file.name}: embedding")
    embedder = load_embedder(model)
    asked = [pair.hard_query for pair in pairs]
    sides = (asked, [pair.passage for pair in pairs])
    vectors = [shortened(embedder.embed([text or "" for text in side]), dims) for side in sides]
    scorers: dict[str, Scorer] = {
        "mixer": vector_scorer(*vectors),
        "bm25": BM25Scorer(asked, [pair.passage for pair in pairs]),
    }
    top1 = []
    for candidates in (count for count in CANDIDATES if count <= len(pairs)):
        narrate(f"{file.name}: top-1 among {candidates}")
        mask = hard_query_mask(asked)
        found = {
            name: top1_among(candidates, len(pairs), mask, scorer, queries=queries, seed=seed)
            for name, scorer in scorers.items()
        }
        top1.append(_row(candidates, found))
    return {**figures, "top1": top1}


def _writing_figures(model: Path, passages: Sequence[str]) -> dict[str, Any]:
    loaded = load_language_model(model)
    eos = loaded.config.eos_token_id
    if eos is None:
        raise MixerError(f"{model} has no eos_token_id in its config.json; perplexity needs one")
    windows = cut_windows(load_encoder(model)(passages), loaded.config.context_length, eos)
    score = language_score(loaded, windows, sum(len(passage.encode()) for passage in passages))
    return {
        "passages": len(passages),
        "tokens": score.tokens,
        "perplexity": round(score.perplexity, 2),
        "bits_per_byte": round(score.bits_per_byte, 4),
    }


def _row(candidates: int, found: dict[str, Top1]) -> dict[str, Any]:
    percent = {name: round(100 * top1.accuracy, 1) for name, top1 in found.items()}
    half_width = round(100 * found["mixer"].half_width, 1)
    return {"candidates": candidates, **percent, "half_width": half_width, "queries": found["mixer"].queries}
