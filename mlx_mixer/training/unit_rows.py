"""Rows of a matrix brought to length 1."""

import numpy as np
import numpy.typing as npt

# Keeps a row of zeros from dividing by 0; it stays a row of zeros.
_EPS = 1e-12


def unit_rows(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Bring the rows of ``(N, D)`` float32 vectors to length 1; rows of zeros stay as they are."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(_EPS))
