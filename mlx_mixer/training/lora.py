r"""Low-rank adapters: fine-tuning with a few numbers beside weights that stay as they are.

A linear map :math:`y = W x + b` becomes :math:`y = W x + b + s\,U D x` with :math:`D` of shape ``(R, in)`` drawn at
random and :math:`U` of shape ``(out, R)`` zero at first, so that nothing changes before the first step. Only :math:`U`
and :math:`D` are trained; afterwards :math:`W + s\,U D` takes the place of :math:`W`, and the model is as before.

Frozen weights need no gradient, which saves a third of the products of a step, and no optimiser state.

Source: https://arxiv.org/abs/2106.09685 (Hu et al., LoRA), where :math:`s = \alpha / R`.
"""

import math

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_unflatten

# alpha = 2 R, the usual choice.
SCALE = 2.0
_TRAINED = ["adapter_down", "adapter_up"]


class AdaptedLinear(nn.Module):
    """A linear map with an adapter beside it; see the module.

    Args:
        linear: The map, which is kept.
        rank: R.
    """

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        size_out, size_in = linear.weight.shape
        bound = 1 / math.sqrt(size_in)
        self.linear = linear
        self.adapter_down = mx.random.uniform(-bound, bound, (rank, size_in))
        self.adapter_up = mx.zeros((size_out, rank))

    def __call__(self, x: mx.array) -> mx.array:
        return self.linear(x) + SCALE * ((x @ self.adapter_down.T) @ self.adapter_up.T)

    def merged(self) -> nn.Linear:
        """The map with the adapter in its weight."""
        weight = self.linear.weight
        self.linear.weight = (weight + SCALE * (self.adapter_up @ self.adapter_down)).astype(weight.dtype)
        return self.linear


def add_adapters(layer: nn.Module, rank: int) -> int:
    """Put an adapter beside every linear map of a block, and let nothing else of it be trained.

    Args:
        layer: The block.
        rank: R.

    Returns:
        How many maps got one.
    """
    layer.freeze()
    maps = [(name, module) for name, module in layer.named_modules() if type(module) is nn.Linear]
    layer.update_modules(tree_unflatten([(name, AdaptedLinear(module, rank)) for name, module in maps]))
    layer.unfreeze(keys=_TRAINED)
    return len(maps)


def merge_adapters(model: nn.Module) -> None:
    """Put every adapter into the weight it stands beside."""
    adapted = [(name, module) for name, module in model.named_modules() if isinstance(module, AdaptedLinear)]
    if adapted:
        model.update_modules(tree_unflatten([(name, module.merged()) for name, module in adapted]))
