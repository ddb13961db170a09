r"""Which tokens of a text make it similar to a query, for highlights.

A vector that is a sum over tokens, :math:`u = \sum_t w_t h_t`, splits its cosine exactly: token t adds :math:`w_t \,
q \cdot h_t / \lVert u \rVert`. A vector that is one hidden state is no such sum; there a token's share is the change of
the cosine, to first order, when its vector is taken away: the gradient by that vector times the vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from mlx_mixer.text_pooling import Pooling, StatePooling, SumPooling

# Keeps a vector of length 0 from dividing by 0.
_EPS = 1e-30


@dataclass(frozen=True)
class TokenShare:
    """A token's part in a cosine.

    Attributes:
        start: First character of the token in the text; white space at its ends is left out.
        end: Character after its last.
        share: What it adds to the cosine (negative: takes from it).
    """

    start: int
    end: int
    share: float


def token_shares(
    pooling: Pooling, ids: Sequence[int], query: npt.NDArray[np.float32], context_length: int
) -> npt.NDArray[np.float32]:
    """Split the cosine of a text and a query over the text's tokens.

    Args:
        pooling: How the text's vector comes about.
        ids: At least one token id.
        query: ``(D,)`` vector of length 1.
        context_length: Tokens that the model sees at once.

    Returns:
        One share for each token that the vector depends on, in order: all of them for sums, where the shares add up to
        the cosine; those of the first window for single states.
    """
    windows = [list(ids[start : start + context_length]) for start in range(0, len(ids), context_length)]
    if isinstance(pooling, SumPooling):
        return _by_sum(pooling, windows, mx.array(query))
    return _by_gradient(pooling, windows[0], mx.array(query))


def _by_sum(pooling: SumPooling, windows: list[list[int]], query: mx.array) -> npt.NDArray[np.float32]:
    vectors = mx.concatenate([pooling.token_vectors(mx.array([window]))[0] for window in windows]).astype(mx.float32)
    return np.array((vectors @ query) / mx.maximum(mx.linalg.norm(vectors.sum(axis=0)), _EPS))


def _by_gradient(pooling: StatePooling, window: list[int], query: mx.array) -> npt.NDArray[np.float32]:
    lengths = mx.array([len(window)])

    def cosine(vectors: mx.array) -> mx.array:
        state = pooling.state_of(vectors, lengths)[0].astype(mx.float32)
        return (state @ query) / mx.maximum(mx.linalg.norm(state), _EPS)

    vectors = pooling.encoder.embed_tokens(mx.array([window]))
    return np.array((mx.grad(cosine)(vectors) * vectors).sum(axis=-1)[0].astype(mx.float32))
