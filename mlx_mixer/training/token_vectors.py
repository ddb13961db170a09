r"""Token vectors from co-occurrence: latent semantic analysis, by randomised subspace iteration.

Every text is a row of :math:`(1 + \log \mathrm{tf}) \cdot \mathrm{idf}`, scaled to length 1. The right singular
vectors of that matrix, each column times the square root of its singular value, put tokens that occur in the same texts
close to each other: a bag of words that searches tolerably before any training. Source of the iteration: Halko,
Martinsson, Tropp, https://arxiv.org/abs/0909.4061.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlx_mixer.errors import MixerError

Tokens = Sequence[int] | npt.NDArray[np.int64]
Floats = npt.NDArray[Any]  # float32; numpy's linear algebra is typed as float64

_ROWS_AT_ONCE = 1024
_OVERSAMPLING = 32
_ITERATIONS = 4


@dataclass(frozen=True)
class TokenVectors:
    """What co-occurrence says about tokens.

    Attributes:
        vectors: ``(V, D)`` float32, scaled so that the mean squared length of a row is 1.
        idf: ``(V,)`` float32, inverse document frequency in nats; 0 for a token that is in every text.
    """

    vectors: Floats
    idf: Floats


def cooccurrence_vectors(texts: Sequence[Tokens], vocab_size: int, dims: int, seed: int = 0) -> TokenVectors:
    """Token vectors from which tokens occur together in a text.

    Args:
        texts: Token ids of every text.
        vocab_size: Number of token ids, V.
        dims: Length of a vector, D.
        seed: Of the random start; results differ in the last digits.

    Raises:
        MixerError: If there are fewer texts or token ids than `dims`.
    """
    if min(len(texts), vocab_size) < dims:
        raise MixerError(
            f"{len(texts)} texts and {vocab_size} token ids are too few for vectors of {dims} numbers; give more texts"
        )
    rows, idf = _weighted_rows(texts, vocab_size)
    basis = np.random.default_rng(seed).standard_normal((vocab_size, min(dims + _OVERSAMPLING, vocab_size)))
    basis = basis.astype(np.float32)
    for _ in range(_ITERATIONS):
        basis = np.linalg.qr(_gram_times(rows, basis))[0]
    squares, rotation = np.linalg.eigh(basis.T @ _gram_times(rows, basis))
    largest = np.argsort(-squares)[:dims]
    # Columns times sqrt(singular value), which is the fourth root of the Gram matrix's eigenvalue.
    vectors = (basis @ rotation[:, largest]) * np.maximum(squares[largest], 0) ** 0.25
    return TokenVectors((vectors / np.sqrt((vectors**2).sum(axis=1).mean())).astype(np.float32), idf)


@dataclass(frozen=True)
class _Rows:
    """The weighted text-token matrix, sparse: row i has `ids[bounds[i]:bounds[i + 1]]` and `values` likewise."""

    ids: npt.NDArray[np.int64]
    values: Floats
    bounds: npt.NDArray[np.int64]
    width: int

    def dense(self) -> Iterator[Floats]:
        for first in range(0, len(self.bounds) - 1, _ROWS_AT_ONCE):
            bounds = self.bounds[first : first + _ROWS_AT_ONCE + 1]
            block = np.zeros((len(bounds) - 1, self.width), np.float32)
            row_of = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
            span = slice(bounds[0], bounds[-1])
            block[row_of, self.ids[span]] = self.values[span]
            yield block


def _weighted_rows(texts: Sequence[Tokens], vocab_size: int) -> tuple[_Rows, Floats]:
    counted = [np.unique(np.asarray(text, np.int64), return_counts=True) for text in texts]
    ids = np.concatenate([unique for unique, _ in counted])
    frequency = np.bincount(ids, minlength=vocab_size)
    idf = np.log((len(texts) + 1) / (frequency + 1)).astype(np.float32)
    values = [(1 + np.log(counts)) * idf[unique] for unique, counts in counted]
    unit = [row / max(float(np.linalg.norm(row)), 1e-9) for row in values]
    bounds = np.cumsum([0, *(len(unique) for unique, _ in counted)])
    return _Rows(ids, np.concatenate(unit).astype(np.float32), bounds, vocab_size), idf


def _gram_times(rows: _Rows, basis: Floats) -> Floats:
    total = np.zeros_like(basis)
    for block in rows.dense():
        total += block.T @ (block @ basis)
    return total
