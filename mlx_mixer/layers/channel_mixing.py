"""Channel mixing: the feed-forward network over features, the same at every position."""

import mlx.core as mx
from mlx import nn

from mlx_mixer.config import Activation
from mlx_mixer.kernels.gelu import gelu


class ChannelMixing(nn.Module):
    r"""Two linear maps with an activation between them.

    Computes :math:`y = W_2\, \mathrm{f}(W_1 x + b_1) + b_2` with :math:`\mathrm{gelu}(z) = z\,\Phi(z)`, not its tanh
    approximation, or :math:`\mathrm{silu}(z) = z\,\sigma(z)`.

    Args:
        dims: Width D.
        intermediate_size: Inner width.
        activation: f.

    Shape:
        - Input and output: ``(..., D)``, any float dtype.
    """

    def __init__(self, dims: int, intermediate_size: int, activation: Activation = "gelu") -> None:
        super().__init__()
        self.up = nn.Linear(dims, intermediate_size)
        self.down = nn.Linear(intermediate_size, dims)
        self._activation = gelu if activation == "gelu" else nn.silu

    def __call__(self, x: mx.array) -> mx.array:
        return self.down(self._activation(self.up(x)))
