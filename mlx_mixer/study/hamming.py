"""The measure of input recovery: the share of tokens that came back wrong."""

import numpy as np
import numpy.typing as npt


def normalised_hamming(wanted: npt.NDArray[np.int64], found: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Share of positions whose token differs, for every row.

    Source: https://arxiv.org/abs/2409.01482, the normalised Hamming metric. The paper's code counts a token as found
    when it is among the five nearest; pass those as `found` for that.

    Args:
        wanted: ``(N, L)`` token ids.
        found: ``(N, L)`` token ids, or ``(N, L, K)`` with K guesses for each position, one of which must be right.

    Returns:
        ``(N,)``, 0 if every token was found and 1 if none was.
    """
    guesses = found if found.ndim == 3 else found[..., None]
    return 1 - (guesses == wanted[..., None]).any(axis=-1).mean(axis=-1)


def nearest_tokens(
    vectors: npt.NDArray[np.float32], table: npt.NDArray[np.float32], count: int
) -> npt.NDArray[np.int64]:
    r"""Turn token vectors back into tokens by the pseudo-inverse of the embedding.

    An embedding of a one-hot row :math:`e` is :math:`x = e E`, so :math:`x E^+` is what comes closest to the row, and
    its largest entries are the likeliest tokens.

    Args:
        vectors: ``(..., D)``.
        table: Token vectors E, ``(V, D)``.
        count: Guesses for each vector.

    Returns:
        ``(..., count)`` token ids, likeliest first.
    """
    scores = vectors.astype(np.float64) @ np.linalg.pinv(table.astype(np.float64))
    return np.argsort(-scores, axis=-1, kind="stable")[..., :count].astype(np.int64)
