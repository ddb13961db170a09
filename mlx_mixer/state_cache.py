"""Decode state of one structured layer: as many bytes after a million tokens as after one."""

from collections.abc import Callable, Sequence
from typing import Self

import mlx.core as mx

from mlx_mixer.kernels.recurrence import Recurrence, mix_recurrent, step_recurrent


class StepState:
    """One decode step seen by a structured token mixing.

    Args:
        position: ``(1,)`` int32, the position of the new token.
        entries: For every product its ``(B, P, D)`` states.
    """

    def __init__(self, position: mx.array, entries: Sequence[mx.array]) -> None:
        self.position = position
        self.entries = list(entries)

    def mix(self, index: int, mixing: Recurrence, rows: mx.array) -> mx.array:
        mixed, self.entries[index] = step_recurrent(mixing, rows, self.entries[index], self.position)
        return mixed


class StateCache:
    """States of one structured token mixing, in mlx-lm's prompt-cache protocol.

    A state cannot be taken back, so the cache cannot be trimmed.

    Attributes:
        offset: Tokens seen.
    """

    def __init__(self) -> None:
        self.offset = 0
        self._states: mx.array | None = None

    def mix(self, index: int, mixing: Recurrence, rows: mx.array) -> mx.array:
        """Take in the next ``(B, n, D)`` rows and return their mixed values; `index` is 0, there is one product."""
        del index
        mixed, self._states = mix_recurrent(mixing, rows, self._states, self.offset)
        return mixed

    def enter_step(self, mixings: Callable[[], Sequence[Recurrence]], like: mx.array) -> list[mx.array]:
        """The states before the next position, which are zeros at the start; `like` is a ``(B, 1, D)`` row."""
        if self._states is None:
            batch, _, dims = like.shape
            self._states = mx.zeros((batch, mixings()[0].num_states, dims), mx.float32)
        return [self._states]

    def leave_step(self, entries: Sequence[mx.array]) -> None:
        """Take the states that a step returned and count its token."""
        (self._states,) = entries
        self.offset += 1

    def advance(self, count: int) -> None:
        """Note that `count` more tokens were seen."""
        self.offset += count

    def is_trimmable(self) -> bool:
        return False

    def select(self, sequences: mx.array) -> None:
        """Go on with these ``(n,)`` rows of the batch, in this order; a row may be taken several times."""
        if self._states is not None:
            self._states = self._states[sequences]

    def size(self) -> int:
        return self.offset

    def empty(self) -> bool:
        return self.offset == 0

    @property
    def nbytes(self) -> int:
        return 0 if self._states is None else self._states.nbytes

    @property
    def state(self) -> tuple[mx.array | None, mx.array]:
        """The ``(B, P, D)`` states, `None` before the first token, and the number of tokens seen."""
        return (self._states if self.offset else None), mx.array(self.offset)

    @state.setter
    def state(self, values: tuple[mx.array | None, mx.array]) -> None:
        self._states = values[0]
        self.offset = int(values[1].item())  # type: ignore[arg-type]  # declared as any number; a count is whole

    @classmethod
    def from_state(cls, state: tuple[mx.array | None, mx.array]) -> Self:
        """Build a cache from what `state` returned, as mlx-lm does when it loads a prompt cache from a file."""
        cache = cls()
        cache.state = state
        return cache
