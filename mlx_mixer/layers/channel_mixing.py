"""Channel mixing: the feed-forward network over features, the same at every position."""

import mlx.core as mx
from mlx import nn

from mlx_mixer.config import Activation
from mlx_mixer.kernels.gelu import gelu
from mlx_mixer.kernels.linear import apply_to_columns, as_columns, from_columns, is_better_turned


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
        if is_better_turned(x, self.up, self.down):
            inner = self._activation(apply_to_columns(self.up, as_columns(x)))
            return from_columns(apply_to_columns(self.down, inner), x)
        rows = x.reshape(-1, x.shape[-1])  # once here, and not around each product
        return self.down(self._activation(self.up(rows))).reshape(x.shape)
