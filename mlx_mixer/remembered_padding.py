"""What the layers of a causal model remember of padding, which is the same before every text.

A text that stands at the end of a window of L positions comes after padding whose rows no text changes. They are
computed once, L - 1 of them for every layer, and what they add to a text of n tokens is one product per layer, whatever
the number of texts in the batch.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import mlx.core as mx

from mlx_mixer.cache import LayerCache, MixerCache, PassCache, RowMixing, mix_from_start
from mlx_mixer.kernels.row_mix import mix_rows

Rows = tuple[mx.array, ...]


class TextEncoder(Protocol):
    """What states are taken of: a language mixer, or the encoder of an autoencoder."""

    @property
    def embed_tokens(self) -> Any: ...  # an embedding layer, maybe quantised

    def hidden_states(self, ids: mx.array, cache: Sequence[LayerCache] | None = None) -> mx.array: ...

    def hidden_from_vectors(self, x: mx.array, cache: Sequence[PassCache] | None = None) -> mx.array: ...

    def make_cache(self) -> list[LayerCache]: ...


class PaddingBefore:
    """A layer's cache for one pass over texts of the same length, after padding.

    Args:
        rows: ``(1, L - 1, D)`` rows of padding for each product of the token mixing.
        start: Position of the first token, after `start` positions of padding.
    """

    def __init__(self, rows: Rows, start: int) -> None:
        self._rows = rows
        self._start = start

    def mix(self, index: int, mixing: RowMixing, rows: mx.array) -> mx.array:
        """Mixed values of ``(B, n, D)`` rows at the positions from `start`, ``(B, n, D)``."""
        start, stop = self._start, self._start + rows.shape[1]
        own = RowMixing(
            mixing.weight[:, :, start:stop, start:stop], None if mixing.bias is None else mixing.bias[:, start:stop]
        )
        of_padding = mix_rows(mixing.weight[:, :, start:stop, :start], self._rows[index][:, :start], start)
        return mix_from_start(own, rows) + of_padding

    def advance(self, count: int) -> None:
        """Nothing: the pass is the only one."""


class RememberedPadding:
    """Padding before a text, as an encoder's layers remember it.

    Args:
        encoder: Whose layers.
        context_length: Length of the window, L.
        pad_token_id: Id of the padding.
    """

    def __init__(self, encoder: TextEncoder, context_length: int, pad_token_id: int) -> None:
        self._encoder = encoder
        self._context_length = context_length
        self._pad_token_id = pad_token_id
        self._keeps_rows = all(isinstance(cache, MixerCache) for cache in encoder.make_cache())
        self._rows: list[Rows] | None = None

    @property
    def vector(self) -> mx.array:
        """The token vector of padding, ``(D,)``."""
        return self._encoder.embed_tokens(mx.array(self._pad_token_id))

    def before(self, count: int, batch: int) -> Sequence[PassCache]:
        """Caches for one pass over the last `count` positions of a window, in a batch of `batch` texts."""
        length = self._context_length - count
        if length > 0 and self._keeps_rows:
            return [PaddingBefore(rows, length) for rows in self._all_rows()]
        caches = self._encoder.make_cache()
        if length > 0:
            # A state of constant size stands for one length of padding only.
            self._encoder.hidden_from_vectors(mx.broadcast_to(self.vector, (batch, length, self.vector.size)), caches)
        return caches

    def _all_rows(self) -> list[Rows]:
        if self._rows is None:
            caches = self._encoder.make_cache()
            pads = mx.broadcast_to(self.vector, (1, self._context_length - 1, self.vector.size))
            self._encoder.hidden_from_vectors(pads, caches)
            self._rows = [tuple(row for row in cache.state if row is not None) for cache in caches]
            mx.eval(self._rows)
        return self._rows
