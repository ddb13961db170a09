"""Cross-entropy of an output head, without ever holding all its logits.

With 8,192 token ids the logits of one batch are 130 MB and each pass over them costs more than the matrix product that
made them. Rows are taken in chunks that stay in cache, and the gradients are formed while a chunk's logits are at hand,
as in https://arxiv.org/abs/2411.09009 (Cut Your Losses in Large-Vocabulary Language Models).
"""

from typing import cast

import mlx.core as mx

from mlx_mixer.kernels.gelu import exp_of_negative
from mlx_mixer.models.language import IGNORED_LABEL

# 16 MB of logits at 8,192 token ids. Half of that has the sum of the head's gradients, 8 MB, added to twice as often.
CHUNK_ROWS = 512


def head_cross_entropy(
    hidden: mx.array, head: mx.array, targets: mx.array, *, is_head_trained: bool = True
) -> mx.array:
    r"""Mean over the counted rows of :math:`\log \sum_v \exp(h_i \cdot u_v) - h_i \cdot u_{y_i}`.

    Args:
        hidden: ``(N, D)`` states, in any float dtype.
        head: ``(V, D)`` head, in the same one; sums over the vocabulary are in float32.
        targets: ``(N,)`` integer ids; -100 where a row is not counted.
        is_head_trained: Whether a gradient by `head` will be asked for; it costs a third of all products here.

    Returns:
        A float32 scalar in nats; 0 if no row counts.
    """
    outputs = _with_gradients(hidden, head, targets) if is_head_trained else _with_gradient(hidden, head, targets)
    assert isinstance(outputs, tuple), "a custom function is only declared to return any object"
    return cast("mx.array", outputs[0])


@mx.custom_function
def _with_gradients(hidden: mx.array, head: mx.array, targets: mx.array) -> tuple[mx.array, mx.array, mx.array]:
    """The loss with its gradients by `hidden` and `head`."""
    total, by_hidden, by_head = _loss_and_gradients(hidden, head, targets, is_head_trained=True)
    assert by_head is not None
    return total, by_hidden, by_head


@_with_gradients.vjp
def _with_gradients_vjp(
    _: tuple[mx.array, ...], cotangents: tuple[mx.array, ...], outputs: tuple[mx.array, ...]
) -> tuple[mx.array, mx.array, mx.array | None]:
    by_loss = cotangents[0].astype(outputs[1].dtype)
    return by_loss * outputs[1], by_loss * outputs[2], mx.zeros((outputs[1].shape[0],))


@mx.custom_function
def _with_gradient(hidden: mx.array, head: mx.array, targets: mx.array) -> tuple[mx.array, mx.array]:
    """The loss with its gradient by `hidden`, for a head that stays as it is."""
    total, by_hidden, _ = _loss_and_gradients(hidden, head, targets, is_head_trained=False)
    return total, by_hidden


@_with_gradient.vjp
def _with_gradient_vjp(
    primals: tuple[mx.array, ...], cotangents: tuple[mx.array, ...], outputs: tuple[mx.array, ...]
) -> tuple[mx.array, mx.array, mx.array | None]:
    by_loss = cotangents[0].astype(outputs[1].dtype)
    return by_loss * outputs[1], mx.zeros_like(primals[1]), mx.zeros((outputs[1].shape[0],))


def _loss_and_gradients(
    hidden: mx.array, head: mx.array, targets: mx.array, *, is_head_trained: bool
) -> tuple[mx.array, mx.array, mx.array | None]:
    counted = (targets != IGNORED_LABEL).astype(mx.float32)
    safe_targets = mx.maximum(targets, 0)
    scale = 1 / mx.maximum(counted.sum(), 1)
    total = mx.array(0.0)
    hidden_gradients: list[mx.array] = []
    head_gradient = mx.zeros(head.shape)
    for start in range(0, hidden.shape[0], CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        states = hidden[rows]
        if hidden_gradients:
            # Not before the last chunk is done with, or the logits of all of them may be held until the end.
            states = mx.depends([states], hidden_gradients[-1:])[0]
        weights = counted[rows, None] * scale
        logits = (states @ head.T).astype(mx.float32)
        loss, by_logits = _chunk(logits, safe_targets[rows, None], weights)
        by_logits = by_logits.astype(head.dtype)
        total = total + loss
        hidden_gradients.append(by_logits @ head - weights.astype(head.dtype) * head[safe_targets[rows]])
        if is_head_trained:
            head_gradient = _add_product(head_gradient, by_logits.T, states)
    by_hidden = mx.concatenate(hidden_gradients)
    if not is_head_trained:
        return total, by_hidden, None
    # The target's part of the gradient: one row per position, added where its id says.
    by_target = mx.zeros(head.shape).at[safe_targets].add(hidden * (counted * scale)[:, None])
    return total, by_hidden, (head_gradient - by_target).astype(head.dtype)


def _chunk(logits: mx.array, targets: mx.array, weights: mx.array) -> tuple[mx.array, mx.array]:
    """Weighted sum of the losses of some rows, and softmax times weight."""
    peak = logits.max(axis=1, keepdims=True)
    shifted = _exp(logits, peak)
    total = shifted.sum(axis=1, keepdims=True)
    losses = mx.log(total) + peak - mx.take_along_axis(logits, targets, axis=1)
    return (losses * weights).sum(), shifted * (weights / total)


def _add_product(total: mx.array, a: mx.array, b: mx.array) -> mx.array:
    """``total + a @ b``, in the pass of the product where nothing has to be widened for that."""
    return mx.addmm(total, a, b) if a.dtype == total.dtype else total + a @ b


def _exp(logits: mx.array, peak: mx.array) -> mx.array:
    if mx.default_device() == mx.cpu:
        return _compiled_exp(logits, peak)
    return mx.exp(logits - peak)


@mx.compile
def _compiled_exp(logits: mx.array, peak: mx.array) -> mx.array:
    return exp_of_negative(logits - peak)
