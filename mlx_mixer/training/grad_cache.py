r"""Gradient caching: the gradients of a loss over a large batch, with the activations of a small one in memory.

A contrastive loss sees a batch only through its representations. With :math:`r_k = f_\theta(x_k)` of chunk k and
:math:`\mathcal L(r_1, \dots, r_K)`,

.. math:: \frac{d \mathcal L}{d \theta} = \sum_k \frac{\partial \mathcal L}{\partial r_k} \frac{\partial r_k}{\partial
    \theta}

so representations are computed without keeping activations, then the loss and its gradients by them, and then chunk
by chunk the gradient of :math:`\sum r_k \cdot g_k` with :math:`g_k = \partial \mathcal L / \partial r_k` held fixed.
Exact, for a second forward pass.

Where several processes train together, each computes the representations of its share of every chunk's rows, all get
those of all, and each takes its share through the blocks again: the loss is that of the whole batch, as in one process.

Source: https://arxiv.org/abs/2101.06983 (Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited
Setup).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_map

from mlx_mixer.training.ranks import ALONE, Ranks

# Representations (R, D) of a chunk.
Represent = Callable[..., mx.array]
# The loss of the representations of all chunks, one above the other, and of what else the batch holds.
RepresentationLoss = Callable[..., mx.array]


class CachedGradients:
    """Loss and gradients of batches that are cut into chunks.

    Args:
        model: What is trained.
        represent: ``represent(model, *chunk)`` to ``(R, D)``.
        loss: ``loss(representations, *others)`` to a scalar, given those of all chunks in order.
        ranks: The processes that train together.
    """

    def __init__(self, model: nn.Module, represent: Represent, loss: RepresentationLoss, ranks: Ranks = ALONE) -> None:
        self._ranks = ranks
        state = [model.state]
        through_all = nn.value_and_grad(model, lambda model, others, *chunk: loss(represent(model, *chunk), *others))
        through_one = nn.value_and_grad(model, lambda model, held, *chunk: (represent(model, *chunk) * held).sum())
        by_representations = mx.value_and_grad(loss)

        # Compiled piece by piece: each shape of chunk is one graph, and no graph holds two chunks' activations.
        # Differentiating leaves its own arrays in the model, so that weights go out as they came in.
        @partial(mx.compile, inputs=state, outputs=state)
        def whole(others: Sequence[mx.array], *chunk: mx.array) -> Any:
            return through_all(model, others, *chunk)

        @partial(mx.compile, inputs=state)
        def forward(*chunk: mx.array) -> mx.array:
            return represent(model, *chunk)

        @partial(mx.compile, inputs=state, outputs=state)
        def backward(gradients: Any, held: mx.array, *chunk: mx.array) -> Any:
            _, added = through_one(model, held, *chunk)
            return added if gradients is None else tree_map(mx.add, gradients, added)

        @mx.compile
        def middle(representations: mx.array, *others: mx.array) -> Any:
            return by_representations(representations, *others)

        self._whole, self._forward, self._middle, self._backward = whole, forward, middle, backward

    def __call__(self, chunks: Sequence[Sequence[mx.array]], others: Sequence[mx.array] = ()) -> tuple[mx.array, Any]:
        """Differentiate the loss of one batch.

        Args:
            chunks: The arrays of each chunk, with one row for each representation.
            others: Arrays that the loss needs beside representations.

        Returns:
            The loss, and its gradients by parameter; both evaluated. Averaged over the processes, the gradients are
            those of the whole batch.
        """
        if len(chunks) == 1 and self._ranks.is_alone:
            value, gradients = self._whole(others, *chunks[0])
            mx.eval(value, gradients)
            return value, gradients
        rank, size = self._ranks.rank, self._ranks.size
        shares = [tuple(array[rank::size] for array in chunk) for chunk in chunks]
        value, held = self._middle(self._representations(chunks, shares), *others)
        # The loop averages over processes, whose gradients add up to that of the loss.
        held = held * size
        mx.eval(value, held)
        gradients, start = None, 0
        for chunk, share in zip(chunks, shares, strict=True):
            stop = start + len(chunk[0])
            if len(share[0]):
                gradients = self._backward(gradients, held[start + rank : stop : size], *share)
                mx.eval(gradients)
            start = stop
        return value, gradients

    def _representations(self, chunks: Sequence[Sequence[mx.array]], shares: Sequence[Sequence[mx.array]]) -> mx.array:
        """Those of all chunks, one above the other."""
        parts = []
        for chunk, share in zip(chunks, shares, strict=True):
            if self._ranks.is_alone:
                parts.append(self._forward(*share))
            else:
                # A process without a row of a chunk still has to know how wide a representation is.
                mine = self._forward(*(share if len(share[0]) else (array[:1] for array in chunk)))
                part = mx.zeros((len(chunk[0]), mine.shape[1]))
                part[self._ranks.rank :: self._ranks.size] = mine[: len(share[0])]
                parts.append(part)
            mx.eval(parts[-1])
        return self._ranks.sum(mx.concatenate(parts))
