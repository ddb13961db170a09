"""The autoencoder's objective: full windows of tokens, and the loss of giving each token back at its own place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from mlx_mixer.models.autoencoding import AutoencodingMixer
from mlx_mixer.models.token_loss import IGNORED_LABEL
from mlx_mixer.training.cross_entropy import head_cross_entropy
from mlx_mixer.training.loop import Batch
from mlx_mixer.training.splitting import split_rows

_WINDOWS_AT_ONCE = 64


@dataclass(frozen=True)
class FullWindows:
    """Windows that fill the context, a short text at the end of its window after padding.

    Attributes:
        ids: ``(N, L)`` int32.
        labels: ``(N, L)`` int32, the ids themselves, and -100 on padding.
    """

    ids: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int32]

    @property
    def num_tokens(self) -> int:
        """Tokens in all windows, padding left out."""
        return int((self.labels != IGNORED_LABEL).sum())

    def __len__(self) -> int:
        return len(self.ids)


def full_windows(texts: Sequence[Sequence[int]], context_length: int, pad_token_id: int) -> FullWindows:
    """Cut tokenised texts into pieces of `context_length` tokens, the last piece of each filled up on the left."""
    pieces = [text[start : start + context_length] for text in texts for start in range(0, len(text), context_length)]
    ids = np.full((len(pieces), context_length), pad_token_id, np.int32)
    labels = np.full_like(ids, IGNORED_LABEL)
    for row, piece in enumerate(pieces):
        ids[row, context_length - len(piece) :] = labels[row, context_length - len(piece) :] = piece
    return FullWindows(ids, labels)


def window_batches(windows: FullWindows, batch_size: int, seed: int) -> Callable[[int], tuple[Batch, int]]:
    """Batches of ids and labels ``(B, L)`` by step; every window comes once before any comes again."""
    size = min(batch_size, len(windows))
    per_epoch = len(windows) // size
    orders: dict[int, npt.NDArray[np.int64]] = {}

    def batch_at(step: int) -> tuple[Batch, int]:
        epoch, index = divmod(step, per_epoch)
        if epoch not in orders:
            orders.clear()
            orders[epoch] = np.random.default_rng((seed, epoch)).permutation(len(windows))
        rows = orders[epoch][index * size : (index + 1) * size]
        ids, labels = windows.ids[rows], windows.labels[rows]
        return (mx.array(ids), mx.array(labels)), int((labels != IGNORED_LABEL).sum())

    return batch_at


def split_windows(batch: Batch, part: int, parts: int) -> tuple[Batch, float]:
    """Every so manyth window of a batch, which counts by the tokens it gives back; see `splitting.split_rows`."""
    (ids, labels), _ = split_rows(batch, part, parts)
    return (ids, labels), cast("float", (labels != IGNORED_LABEL).sum().item())


def autoencoding_loss(model: AutoencodingMixer, ids: mx.array, labels: mx.array) -> mx.array:
    """`mlx_mixer.models.autoencoding.reconstruction_loss`, computed so that logits are never held whole.

    Args:
        model: The model.
        ids: ``(B, L)`` token ids.
        labels: ``(B, L)`` targets, -100 where none is counted.

    Returns:
        A float32 scalar in nats.
    """
    hidden = model.hidden_states(ids)
    return head_cross_entropy(hidden.reshape(-1, hidden.shape[-1]), _head(model), labels.reshape(-1))


@dataclass(frozen=True)
class Reconstruction:
    """How well texts come back.

    Attributes:
        loss: Mean cross-entropy of a token, in nats.
        accuracy: Share of tokens that come back as they were, the most likely token taken at each place.
        tokens: Tokens counted.
    """

    loss: float
    accuracy: float
    tokens: int

    def lines(self) -> list[tuple[str, str]]:
        """What was measured, and the outcome, for people."""
        return [
            ("loss on held-out text", f"{self.loss:.3f} nats"),
            ("held-out tokens that come back as they were", f"{100 * self.accuracy:.1f} % of {self.tokens:,}"),
        ]


def reconstruction_of(model: AutoencodingMixer, windows: FullWindows) -> Reconstruction:
    """Measure a model on windows."""
    loss, right, tokens = 0.0, 0, 0
    for start in range(0, len(windows), _WINDOWS_AT_ONCE):
        part = slice(start, start + _WINDOWS_AT_ONCE)
        labels = mx.array(windows.labels[part]).reshape(-1)
        counted = int((windows.labels[part] != IGNORED_LABEL).sum())
        hidden = model.hidden_states(mx.array(windows.ids[part]))
        hidden = hidden.reshape(-1, hidden.shape[-1])
        mean = head_cross_entropy(hidden, _head(model), labels)
        # Padding is no token id, so it never comes back.
        best = (hidden @ _head(model).T).argmax(axis=1)
        loss += cast("float", mean.item()) * counted
        right += cast("int", (best == labels).sum().item())
        tokens += counted
    return Reconstruction(loss / tokens, right / tokens, tokens)


def _head(model: AutoencodingMixer) -> mx.array:
    head: mx.array = model.encoder.embed_tokens.weight if model.config.tie_word_embeddings else model.lm_head.weight
    return head
