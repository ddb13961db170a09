"""Texts as vectors, the same way for every contender: what the head sees at the last token."""

from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from mlx_mixer.study.cells import Cell
from mlx_mixer.study.pairs import PairIds
from mlx_mixer.training.evaluate import Top1

Floats = npt.NDArray[np.float32]

_TEXTS_AT_ONCE = 256


def end_states(model: Any, ids: mx.array, ends: mx.array) -> mx.array:
    """What the head sees at each text's last token; ids ``(B, L)``, ends ``(B,)``, to ``(B, D)``."""
    return model.hidden_states(ids)[mx.arange(len(ids)), ends]


def pair_vectors(model: Any, pairs: PairIds) -> tuple[Floats, Floats]:
    """Embeddings ``(N, D)`` of all queries and of all passages, not normalised."""
    return _vectors(model, pairs.queries, pairs.query_ends), _vectors(model, pairs.passages, pairs.passage_ends)


def _vectors(model: Any, ids: npt.NDArray[np.int32], ends: npt.NDArray[np.int32]) -> Floats:
    chunks = (slice(start, start + _TEXTS_AT_ONCE) for start in range(0, len(ids), _TEXTS_AT_ONCE))
    return np.concatenate([np.array(end_states(model, mx.array(ids[part]), mx.array(ends[part]))) for part in chunks])


def unit(vectors: mx.array) -> mx.array:
    """Vectors ``(N, D)`` of length 1."""
    return vectors * mx.rsqrt((vectors * vectors).sum(axis=1, keepdims=True) + 1e-12)


def top1_figures(top1: Top1) -> Cell:
    """A count as JSON values."""
    return {"accuracy": top1.accuracy, "half_width": top1.half_width, "queries": top1.queries}
