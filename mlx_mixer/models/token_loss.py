"""Cross-entropy of logits against token ids, some of which do not count."""

import mlx.core as mx
from mlx import nn

IGNORED_LABEL = -100


def mean_token_loss(logits: mx.array, targets: mx.array) -> mx.array:
    """Mean cross-entropy over the targets that count.

    Args:
        logits: ``(..., V)`` in any float dtype.
        targets: ``(...)`` token ids, -100 where none is counted.

    Returns:
        A float32 scalar in nats; 0 if no target counts.
    """
    counted = targets != IGNORED_LABEL
    losses = nn.losses.cross_entropy(logits.astype(mx.float32), mx.where(counted, targets, 0))
    return (losses * counted).sum() / mx.maximum(counted.sum(), 1)
