r"""Decode state of one layer: the rows that later positions still read.

The mixing matrix does not depend on data, so the rows a token mixing has seen are all a layer must remember, and
decoding from them is exact. It also means the whole past can be mixed ahead of time: when position t enters a block
of `BLOCK` positions, one product

.. math:: A = W_{[b, b + 32),\, [0, b)}\, X_{[0, b)} + b_{[b, b + 32)}

adds what all earlier blocks contribute to the next 32 positions, bias included. A step then reads at most 32 rows,
whatever the length of the text. Steps work on arrays of fixed shapes with the position in an array, so that one
compiled graph serves every position.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, Self

import mlx.core as mx

from mlx_mixer.kernels.mix_step import mix_step, row_of_block
from mlx_mixer.kernels.recent_rows import BLOCK, write_row
from mlx_mixer.kernels.row_mix import mix_rows
from mlx_mixer.state_cache import StateCache

# Rows grow by this many positions at a time, so that a prefill seldom allocates.
GROWTH = 64


class RowMixing(NamedTuple):
    """One causal product of a token mixing.

    Attributes:
        weight: ``(H, K, L, L)``.
        bias: ``(H, L)``, or `None`.
    """

    weight: mx.array
    bias: mx.array | None


class DecodeCache(Protocol):
    """What a token mixing needs of a cache: to mix new rows with those before them."""

    def mix(self, index: int, mixing: RowMixing, rows: mx.array) -> mx.array:
        """Take in the next ``(B, n, D)`` rows of product `index` and return their mixed values, ``(B, n, D)``."""
        ...


class LayerStep(Protocol):
    """One compiled decode step of one layer."""

    def mix(self, index: int, mixing: Any, rows: mx.array) -> mx.array:  # the mixing of the layer's own kind
        """See `DecodeCache.mix`; `rows` is ``(B, 1, D)``."""
        ...

    @property
    def entries(self) -> Sequence[Any]:
        """What the step leaves to the next one: arrays of the shapes it was given, or named tuples of them."""
        ...


class PassCache(Protocol):
    """What a forward pass over several positions needs of a layer's cache, besides what its token mixing needs."""

    def advance(self, count: int) -> None:
        """Note that `count` more tokens were seen."""
        ...


class LayerCache(Protocol):
    """What a model needs of the decode caches of its layers, whatever they hold."""

    offset: int
    # Arrays of one kind of cache; only a cache of the same kind takes them.
    state: Any

    def enter_step(self, mixings: Callable[[], Sequence[Any]], like: mx.array) -> list[Any]:
        """What the compiled step reads, in arrays of fixed shapes; `like` is a ``(B, 1, D)`` row.

        `mixings` is asked only where a new block or state begins: putting it together costs host time.
        """
        ...

    def leave_step(self, entries: Sequence[Any]) -> None:
        """Take the entries that a step returned and count its token."""
        ...

    def advance(self, count: int) -> None:
        """Note that `count` more tokens were seen."""
        ...

    def is_trimmable(self) -> bool: ...

    @property
    def nbytes(self) -> int: ...

    def select(self, sequences: mx.array) -> None:
        """Go on with these ``(n,)`` rows of the batch, in this order; a row may be taken several times."""
        ...


def mix_from_start(mixing: RowMixing, rows: mx.array, start: int = 0) -> mx.array:
    """Mixed values of positions `start` to S from the rows of all positions, ``(B, S, D)`` to ``(B, S - start, D)``."""
    stop = rows.shape[1]
    mixed = mix_rows(mixing.weight[:, :, start:stop, :stop], rows, start)
    return mixed if mixing.bias is None else mixed + _by_head(mixing.bias[:, start:stop], rows.shape[2])


def _by_head(bias: mx.array, dims: int) -> mx.array:
    """``(H, n)`` to ``(n, 1)`` for one head, or ``(n, D)`` with each head's bias over its features."""
    if bias.shape[0] == 1:
        return bias[0, :, None]
    return mx.repeat(bias.T, dims // bias.shape[0], axis=1)


class Block(NamedTuple):
    """What the steps of one block of positions read of one product.

    Attributes:
        recent: ``(B, BLOCK, D)``, the rows of the block, zeros after those seen.
        ahead: ``(B, BLOCK, D)``, what earlier blocks and the bias add to each position.
        within: ``(H, K, BLOCK, BLOCK)``, the weights among the block's own positions, zero above the diagonal.
    """

    recent: mx.array
    ahead: mx.array
    within: mx.array


class StepCache:
    """One decode step seen by a token mixing: arrays of fixed shapes, position included.

    Args:
        position: ``(1,)`` int32, the position of the new token.
        entries: The current block of every product.
    """

    def __init__(self, position: mx.array, entries: Sequence[Block]) -> None:
        self.position = position
        # Compiled functions are given plain tuples for named ones.
        self.entries = [Block(*entry) for entry in entries]

    def mix(self, index: int, _mixing: RowMixing, rows: mx.array) -> mx.array:
        """See `DecodeCache.mix`; the product's weights are in its block already."""
        block = self.entries[index]
        if block.within.shape[1] == 1:
            return self._fused(index, rows, norm=None, eps=0.0)
        recent = write_row(block.recent, rows[:, 0], self.position)
        self.entries[index] = block._replace(recent=recent)
        mixed = mix_rows(row_of_block(block.within, self.position), recent, BLOCK)
        return mixed + mx.slice(block.ahead, self.position % BLOCK, axes=(1,), slice_size=rows.shape)

    def add_mixed(self, x: mx.array, norm: tuple[mx.array, mx.array], eps: float) -> mx.array:
        """A whole sublayer of one product and one tap: `x` plus the mixed values of its layer norm, ``(B, 1, D)``."""
        return self._fused(0, x, norm=norm, eps=eps)

    def _fused(self, index: int, x: mx.array, *, norm: tuple[mx.array, mx.array] | None, eps: float) -> mx.array:
        block = self.entries[index]
        y, recent = mix_step(
            x[:, 0],
            ahead=block.ahead,
            recent=block.recent,
            within=block.within[:, 0],
            position=self.position,
            norm=norm,
            eps=eps,
            residual=norm is not None,
        )
        self.entries[index] = block._replace(recent=recent)
        return y[:, None]


class MixerCache:
    """Rows of every product of one token mixing, in mlx-lm's prompt-cache protocol.

    Attributes:
        offset: Tokens seen.
    """

    def __init__(self, num_buffers: int = 1) -> None:
        self.offset = 0
        self._rows: list[mx.array | None] = [None] * num_buffers
        # Steps keep their rows in the block; they are moved into `_rows` when the block is left or somebody asks.
        self._blocks: list[Block] | None = None

    def mix(self, index: int, mixing: RowMixing, rows: mx.array) -> mx.array:
        self._settle()
        stop = self.offset + rows.shape[1]
        buffer = self._with_room(index, rows, stop)
        buffer[:, self.offset : stop] = rows
        self._rows[index] = buffer
        return mix_from_start(mixing, buffer[:, :stop], self.offset)

    def enter_step(self, mixings: Callable[[], Sequence[RowMixing]], like: mx.array) -> list[Block]:
        """The block of the next position, with the past mixed ahead when a new block begins.

        Args:
            mixings: Gives the products of the token mixing this cache belongs to.
            like: ``(B, 1, D)``, whose batch size, width and dtype new arrays take.
        """
        if self._blocks is None or self.offset % BLOCK == 0:
            self._settle()
            self._blocks = [self._look_ahead(index, mixing, like) for index, mixing in enumerate(mixings())]
        return self._blocks

    def leave_step(self, entries: Sequence[Block]) -> None:
        """Take the blocks that a step returned and count its token."""
        self._blocks = [Block(*entry) for entry in entries]
        self.offset += 1

    def advance(self, count: int) -> None:
        """Note that `count` more tokens were seen."""
        self.offset += count

    def trim(self, count: int) -> int:
        """Forget the last `count` tokens, or all there are; returns how many. Their rows are written over later."""
        self._settle()
        count = min(count, self.offset)
        self.offset -= count
        return count

    def is_trimmable(self) -> bool:
        return True

    def select(self, sequences: mx.array) -> None:
        """Go on with these ``(n,)`` rows of the batch, in this order; a row may be taken several times."""
        self._settle()
        self._rows = [None if rows is None else rows[sequences] for rows in self._rows]

    def size(self) -> int:
        return self.offset

    def empty(self) -> bool:
        return self.offset == 0

    @property
    def nbytes(self) -> int:
        """Bytes held, room for later positions included."""
        arrays = [*self._rows, *(array for block in self._blocks or () for array in block)]
        return sum(array.nbytes for array in arrays if array is not None)

    @property
    def state(self) -> tuple[mx.array | None, ...]:
        """The rows seen, one ``(B, offset, D)`` array per product; `None` before the first token."""
        self._settle()
        if self.offset == 0:
            return tuple(None for _ in self._rows)
        return tuple(None if rows is None else rows[:, : self.offset] for rows in self._rows)

    @state.setter
    def state(self, arrays: Sequence[mx.array | None]) -> None:
        self._rows = list(arrays)
        self._blocks = None
        self.offset = 0 if arrays[0] is None else arrays[0].shape[1]

    @classmethod
    def from_state(cls, state: Sequence[mx.array | None]) -> Self:
        """Build a cache from what `state` returned, as mlx-lm does when it loads a prompt cache from a file."""
        cache = cls(len(state))
        cache.state = state
        return cache

    def _settle(self) -> None:
        """Move the rows of the current block to the others; the block is built again at the next step."""
        if self._blocks is None:
            return
        # At the end of a block the offset is already that of the next one.
        start = (self.offset - 1) // BLOCK * BLOCK if self.offset else 0
        for index, (recent, *_) in enumerate(self._blocks):
            buffer = self._with_room(index, recent, self.offset)
            buffer[:, start : self.offset] = recent[:, : self.offset - start]
            self._rows[index] = buffer
        self._blocks = None

    def _look_ahead(self, index: int, mixing: RowMixing, like: mx.array) -> Block:
        batch, _, dims = like.shape
        start = self.offset // BLOCK * BLOCK
        stop = min(start + BLOCK, mixing.weight.shape[2])
        recent = mx.zeros((batch, BLOCK, dims), like.dtype)
        ahead = mx.zeros((batch, BLOCK, dims), like.dtype)
        rows = self._rows[index]
        if rows is not None and self.offset > start:
            recent[:, : self.offset - start] = rows[:, start : self.offset]
        if rows is not None and start > 0:
            ahead[:, : stop - start] = mix_rows(mixing.weight[:, :, start:stop, :start], rows[:, :start], start)
        if mixing.bias is not None:
            ahead[:, : stop - start] += _by_head(mixing.bias[:, start:stop], dims)
        # The last block may reach beyond the matrix.
        beyond = (0, start + BLOCK - stop)
        within = mx.pad(mx.tril(mixing.weight[:, :, start:stop, start:stop]), [(0, 0), (0, 0), beyond, beyond])
        return Block(recent, ahead, within)

    def _with_room(self, index: int, rows: mx.array, stop: int) -> mx.array:
        buffer = self._rows[index]
        capacity = -(-stop // GROWTH) * GROWTH
        batch, _, dims = rows.shape
        if buffer is None or buffer.dtype != rows.dtype or (self.offset == 0 and buffer.shape[0] != batch):
            return mx.zeros((batch, capacity, dims), rows.dtype)
        if buffer.shape[1] >= stop:
            return buffer
        return mx.concatenate([buffer, mx.zeros((batch, capacity - buffer.shape[1], dims), rows.dtype)], axis=1)


def register_with_mlx_lm(cache_module: Any) -> None:  # the module has no type of its own
    """Let mlx-lm's `load_prompt_cache` find our caches, which it looks up by class name in its own module.

    Args:
        cache_module: `mlx_lm.models.cache`, given by the caller, who has paid for importing it.
    """
    cache_module.MixerCache = MixerCache
    cache_module.StateCache = StateCache
