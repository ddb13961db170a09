"""Loss and gradients of a model, in float32 or with bfloat16 passes over float32 weights."""

from collections.abc import Callable
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_map

Loss = Callable[..., mx.array]
# ``gradients(model, *batch)`` to the loss and its gradients: a tree of arrays shaped like the trainable parameters.
Gradients = Callable[..., tuple[mx.array, Any]]


def gradients_in(model: nn.Module, loss: Loss, dtype: mx.Dtype) -> Gradients:
    """The function ``(model, *batch) -> (loss, gradients by the trainable parameters)``.

    Args:
        model: The model.
        loss: ``loss(model, *batch)`` to a scalar.
        dtype: What the passes compute in. If it is not float32, every weight is rounded to it on the way in, and
            gradients come out in the dtype of the weights, as in https://arxiv.org/abs/1710.03740 (Mixed Precision
            Training); bfloat16 has the exponents of float32, so the loss needs no scaling.
    """
    if dtype == mx.float32:
        return nn.value_and_grad(model, loss)

    def rounded(tree: Any) -> Any:
        return tree_map(lambda array: array.astype(dtype) if mx.issubdtype(array.dtype, mx.floating) else array, tree)

    def loss_of(trainable: Any, frozen: Any, *batch: mx.array) -> mx.array:
        model.update(rounded(frozen))
        model.update(rounded(trainable))
        return loss(model, *batch).astype(mx.float32)

    differentiate = mx.value_and_grad(loss_of)

    def gradients_of(_: nn.Module, *batch: mx.array) -> tuple[mx.array, Any]:
        whole = model.parameters()
        value, gradients = differentiate(model.trainable_parameters(), whole, *batch)
        model.update(whole)
        return value, gradients

    return gradients_of
