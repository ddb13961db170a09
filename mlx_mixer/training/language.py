"""The next-token objective."""

from collections.abc import Callable
from typing import cast

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from mlx_mixer.models.language import IGNORED_LABEL, LanguageMixer
from mlx_mixer.training.cross_entropy import head_cross_entropy
from mlx_mixer.training.splitting import Batch, split_rows
from mlx_mixer.training.windows import Windows, batch_order, gather


def language_batches(windows: Windows, tokens_per_batch: int, seed: int) -> Callable[[int], tuple[Batch, int]]:
    """Batches of ids and labels by step; after one pass over the windows they are divided anew.

    Args:
        windows: What to train on.
        tokens_per_batch: Positions of a batch, at most.
        seed: Decides the order.

    Returns:
        A function of the step (from 0) to ``(ids, labels)``, both ``(B, L)``, and the number of real tokens.
    """
    epoch_length = len(batch_order(windows, tokens_per_batch, seed))
    orders: dict[int, list[npt.NDArray[np.int64]]] = {}

    def batch_at(step: int) -> tuple[Batch, int]:
        epoch, index = divmod(step, epoch_length)
        if epoch not in orders:
            orders.clear()
            orders[epoch] = batch_order(windows, tokens_per_batch, seed + epoch)
        # The number of batches can differ by a few between epochs.
        ids, labels = gather(windows, orders[epoch][index % len(orders[epoch])])
        return (mx.array(ids), mx.array(labels)), int((labels >= 0).sum())

    return batch_at


def split_targets(batch: Batch, part: int, parts: int) -> tuple[Batch, float]:
    """Every so manyth window of a batch, which counts by the tokens it predicts; see `splitting.Split`."""
    (ids, labels), _ = split_rows(batch, part, parts)
    return (ids, labels), cast("float", (labels[:, 1:] != IGNORED_LABEL).sum().item())


def language_loss(model: LanguageMixer, ids: mx.array, labels: mx.array) -> mx.array:
    """`mlx_mixer.models.language.next_token_loss`, computed so that logits are never held whole.

    Args:
        model: The model.
        ids: ``(B, L)`` token ids.
        labels: ``(B, L)`` targets, -100 where none is counted.

    Returns:
        A float32 scalar in nats.
    """
    hidden = model.hidden_states(ids)[:, :-1]
    head = model.embed_tokens if model.config.tie_word_embeddings else model.lm_head
    return head_cross_entropy(
        hidden.reshape(-1, hidden.shape[-1]),
        head.weight,
        labels[:, 1:].reshape(-1),
        is_head_trained=bool(head.trainable_parameters()),
    )
