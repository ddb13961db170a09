"""Token mixing for models that see a whole window at once, in which causality is not the question.

Fewer rows than the weights cover take the top left corner of them: rows that are not there add nothing.
"""

import math

import mlx.core as mx
from mlx import nn

# Distance of the first position that a reverse mixing sees.
FIRST_SEEN = 2


class UnmaskedTokenMixing(nn.Module):
    r"""Mix every position with all others.

    Computes :math:`y_t = b_t + \sum_s W_{ts} x_s`.

    Source: https://arxiv.org/abs/2409.01482, the retrieval model.

    Args:
        context_length: Most rows the weights cover.

    Shape:
        - Input and output: ``(B, L, D)`` with ``L <= context_length``, any float dtype.
    """

    def __init__(self, context_length: int) -> None:
        super().__init__()
        self.weight = _uniform(context_length)
        self.bias = mx.zeros((context_length,))

    def __call__(self, x: mx.array) -> mx.array:
        length = x.shape[1]
        return self.weight[:length, :length] @ x + self.bias[:length, None]


class ReverseTokenMixing(nn.Module):
    r"""Mix each position with those after the next one.

    Computes :math:`y_t = b_t + \sum_{s \ge t + 2} W_{ts} x_s`: position t predicts token t + 1, which it must not see.
    What `weight` holds elsewhere neither counts nor gets a gradient.

    Source: https://arxiv.org/abs/2409.01482 and the author's bidirectional mixers.

    Args:
        context_length: Longest sequence the weights cover, in tokens.

    Shape:
        - Input and output: ``(B, L, D)`` with ``L <= context_length``, any float dtype.
    """

    def __init__(self, context_length: int) -> None:
        super().__init__()
        self.weight = mx.triu(_uniform(context_length), k=FIRST_SEEN)
        self.bias = mx.zeros((context_length,))

    def __call__(self, x: mx.array) -> mx.array:
        length = x.shape[1]
        return mx.triu(self.weight[:length, :length], k=FIRST_SEEN) @ x + self.bias[:length, None]


def _uniform(length: int) -> mx.array:
    # The usual uniform bound of a linear map with this many inputs.
    bound = 1 / math.sqrt(length)
    return mx.random.uniform(-bound, bound, (length, length))
