r"""A coarse picture of many vectors: the signs of random projections, two bits per dimension, 512 at most.

The share of signs in which two vectors differ estimates their angle, :math:`E = \theta / \pi` (Charikar 2002), at a
sixteenth of the reading that float16 vectors cost. It chooses the rows whose cosines are then computed exactly. Without
the projection, signs of the raw dimensions lose neighbours wherever dimensions differ in variance: on 79,000 passages
of the Python sources and documentation the 2,000 nearest rows held 94.5 % of the true first hundred by plain signs,
95.9 % by as many projected ones and 99.6 % by twice as many, and each of the true first ten.

How many signs are needed depends on the angles and hardly on the dimensions: of 58,000 passages with vectors of 512
numbers, 512 signs held 98.6 % of the first hundred and 99.97 % of the first ten, 1,024 held 99.9 % and 99.97 %.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_SEED = 7
_WORD = 64
_MOST_BITS = 512
# Rows that are compared at once: what lies between stays in the cache, and calls stay few.
_BLOCK = 32768


class SignSketch:
    """Signs of projected vectors, in order of their rows.

    Args:
        dims: Dimensions of the vectors.
        centre: (D,) what is taken from every vector first.
    """

    def __init__(self, dims: int, centre: Floats) -> None:
        self._words = -(-min(2 * dims, _MOST_BITS) // _WORD)
        self._projection = _projection(dims, self._words * _WORD)
        self._centre = centre @ self._projection
        self._bits = np.zeros((self._words, 0), dtype=np.uint64)  # a word of all rows lies together
        self._count = 0
        self.farthest = self._words * _WORD
        """The distance from which on nothing can be."""

    def __len__(self) -> int:
        return self._count

    def append(self, vectors: Floats) -> None:
        """Add (N, D) vectors."""
        needed = self._count + len(vectors)
        if needed > self._bits.shape[1]:
            grown = np.zeros((self._words, needed + needed // 4), dtype=np.uint64)
            grown[:, : self._count] = self._bits[:, : self._count]
            self._bits = grown
        self._bits[:, self._count : needed] = self._signs(vectors).T
        self._count = needed

    def distances(self, query: Floats) -> NDArray[np.uint16]:
        """In how many signs each row differs from a (D,) vector."""
        (signs,) = self._signs(query[None])
        total = np.empty(self._count, dtype=np.uint16)
        different = np.empty(_BLOCK, dtype=np.uint64)
        counts = np.empty(_BLOCK, dtype=np.uint8)
        for start in range(0, self._count, _BLOCK):
            part = total[start : start + _BLOCK]
            part[:] = 0
            size = len(part)
            for word, sign in zip(self._bits, signs, strict=True):
                np.bitwise_xor(word[start : start + size], sign, out=different[:size])
                np.bitwise_count(different[:size], out=counts[:size])
                part += counts[:size]
        return total

    def _signs(self, vectors: Floats) -> NDArray[np.uint64]:
        above = vectors @ self._projection > self._centre
        return np.packbits(above, axis=1).view(np.uint64)


def _projection(dims: int, columns: int) -> Floats:
    """(D, columns) directions, perpendicular to each other within every D of them; the same at every start."""
    rng = np.random.default_rng(_SEED)
    squares = [np.linalg.qr(rng.standard_normal((dims, dims)))[0] for _ in range(-(-columns // dims))]
    return np.ascontiguousarray(np.concatenate(squares, axis=1)[:, :columns], dtype=np.float32)
