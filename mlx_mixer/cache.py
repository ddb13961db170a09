"""Decode state of one layer, as mlx-lm's prompt-cache protocol wants it."""

from collections.abc import Sequence
from typing import Any, Self

import mlx.core as mx

# Buffers grow by this many positions at a time, so that a step seldom allocates.
GROWTH = 64


class MixerCache:
    """Rows that later positions still read: the inputs of a token mixing, and its inner rows if it has two products.

    Because the mixing matrix does not depend on data, this is all a layer must remember, and decoding from it is exact.

    Attributes:
        offset: Tokens seen.
    """

    def __init__(self, num_buffers: int = 1) -> None:
        self.offset = 0
        self._buffers: list[mx.array | None] = [None] * num_buffers

    def write(self, index: int, rows: mx.array, start: int) -> mx.array:
        """Put ``(B, n, D)`` rows at `start` in a buffer; returns all rows up to the last, ``(B, start + n, D)``."""
        stop = start + rows.shape[1]
        buffer = self._with_room(index, rows, stop)
        buffer[:, start:stop] = rows
        self._buffers[index] = buffer
        return buffer[:, :stop]

    def read(self, index: int, stop: int) -> mx.array:
        """The first `stop` rows of a buffer, ``(B, stop, D)``."""
        buffer = self._buffers[index]
        assert buffer is not None, "rows are read only after they were written"
        return buffer[:, :stop]

    def advance(self, count: int) -> None:
        """Note that `count` more tokens were seen."""
        self.offset += count

    def trim(self, count: int) -> int:
        """Forget the last `count` tokens, or all there are; returns how many. Their rows are written over later."""
        count = min(count, self.offset)
        self.offset -= count
        return count

    def is_trimmable(self) -> bool:
        return True

    def size(self) -> int:
        return self.offset

    def empty(self) -> bool:
        return self.offset == 0

    @property
    def nbytes(self) -> int:
        """Bytes held, room for later positions included."""
        return sum(buffer.nbytes for buffer in self._buffers if buffer is not None)

    @property
    def state(self) -> tuple[mx.array | None, ...]:
        """The rows that count, one array per buffer; `None` for a buffer nothing was written to."""
        if self.offset == 0:
            return tuple(None for _ in self._buffers)
        return tuple(None if buffer is None else buffer[:, : self.offset] for buffer in self._buffers)

    @state.setter
    def state(self, arrays: Sequence[mx.array | None]) -> None:
        # The first buffer has one row per token, so its length is the offset; inner rows may be fewer.
        self._buffers = list(arrays)
        self.offset = 0 if arrays[0] is None else arrays[0].shape[1]

    @classmethod
    def from_state(cls, state: Sequence[mx.array | None]) -> Self:
        """Build a cache from what `state` returned, as mlx-lm does when it loads a prompt cache from a file."""
        cache = cls(len(state))
        cache.state = state
        return cache

    def _with_room(self, index: int, rows: mx.array, stop: int) -> mx.array:
        buffer = self._buffers[index]
        capacity = -(-stop // GROWTH) * GROWTH
        batch, _, dims = rows.shape
        if buffer is None or buffer.dtype != rows.dtype or (self.offset == 0 and buffer.shape[0] != batch):
            return mx.zeros((batch, capacity, dims), rows.dtype)
        if buffer.shape[1] >= stop:
            return buffer
        return mx.concatenate([buffer, mx.zeros((batch, capacity - buffer.shape[1], dims), rows.dtype)], axis=1)


def register_with_mlx_lm(cache_module: Any) -> None:  # the module has no type of its own
    """Let mlx-lm's `load_prompt_cache` find `MixerCache`, which it looks up by class name in its own module.

    Args:
        cache_module: `mlx_lm.models.cache`, given by the caller, who has paid for importing it.
    """
    cache_module.MixerCache = MixerCache
