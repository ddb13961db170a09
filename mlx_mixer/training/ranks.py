"""The processes that train one model together, as MLX's own launcher starts them.

Every process holds the whole model and computes the gradients of its part of each batch; what moves the weights is the
sum over all parts, so all of them stay alike. The first process alone writes files and talks.

The processes take the same decisions in the same order, or one would wait for a message that never comes. Whatever can
fail on one of them is therefore done inside `Ranks.together`, after which either all go on or all stop.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten, tree_unflatten

from mlx_mixer.errors import MixerError

Value = TypeVar("Value")


class Ranks:
    """This process's place among those that train together.

    Args:
        group: MLX's group; `None` for a process that trains alone.
    """

    def __init__(self, group: mx.distributed.Group | None = None) -> None:
        self.group = group
        self.rank = group.rank() if group else 0
        self.size = group.size() if group else 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and talks."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other."""
        return self.size == 1

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do something that may fail here, and stop all processes if it fails on any.

        Raises:
            MixerError: If it failed elsewhere; a failure here is raised as it is.
        """
        try:
            yield
        except BaseException:
            self._gather_flags(failed=True)
            raise
        failed = [rank for rank, flag in enumerate(self._gather_flags(failed=False)) if flag]
        if failed:
            raise MixerError(
                f"process {self.rank} of {self.size} stops because process {failed[0]} failed; its message says why"
            )

    def any(self, flag: bool) -> bool:
        """Whether a flag is set in one of the processes."""
        return flag if self.is_alone else bool(self.sum(mx.array([float(flag)])).item())

    def sum(self, array: mx.array) -> mx.array:
        """The sum of an array over all processes, evaluated.

        Raises:
            MixerError: If one of them has gone.
        """
        if self.is_alone:
            return array
        with self.watching():
            total = mx.distributed.all_sum(array, group=self.group)
            mx.eval(total)
        return total

    def average(self, gradients: Any) -> Any:
        """A tree of arrays, averaged over all processes; evaluated."""
        if self.is_alone:
            return gradients
        with self.watching():
            averaged = nn.average_gradients(gradients, self.group)
            mx.eval(averaged)
        return averaged

    def share(self, tree: Any) -> Any:
        """A tree of arrays as the first process has it, bit for bit; shapes and dtypes must be alike in all."""
        if self.is_alone:
            return tree
        flat: dict[str, mx.array] = dict(tree_flatten(tree))
        # By name, because the order of a tree's entries depends on how it came about.
        return tree_unflatten([(name, self._share_array(flat[name])) for name in sorted(flat)])

    def share_value(self, make: Callable[[], Value]) -> Value:
        """A JSON value that the first process makes, in every process; what the others might make is not asked for."""
        if self.is_alone:
            return make()
        with self.together():
            content = json.dumps(make()).encode() if self.is_first else b""
        length: Any = self.sum(mx.array([len(content)])).item()
        padded = mx.array(list(content) or [0] * length, mx.uint8)
        value: Value = json.loads(bytes(self._share_array(padded).tolist()))  # type: ignore[arg-type]  # a list of ints
        return value

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Say in one line that another process has gone, where MLX speaks of sockets.

        Raises:
            MixerError: That line.
        """
        try:
            yield
        except RuntimeError as error:
            if self.is_alone or not any(word in str(error) for word in ("peer", "socket", "connection")):
                raise
            raise MixerError(
                f"process {self.rank} of {self.size} lost touch with the others; what ended them says why. "
                "The last checkpoint is in place: start all of them again with --resume"
            ) from error

    def _share_array(self, array: mx.array) -> mx.array:
        raw = array.reshape(-1).view(mx.uint8)
        return self.sum(raw if self.is_first else mx.zeros_like(raw)).view(array.dtype).reshape(array.shape)

    def _gather_flags(self, *, failed: bool) -> list[float]:
        if self.is_alone:
            return [float(failed)]
        flags: Any = self.sum((mx.arange(self.size) == self.rank).astype(mx.float32) * float(failed)).tolist()
        return list(flags)


ALONE = Ranks()


@cache
def current_ranks() -> Ranks:
    """The processes that `mlx.launch` started with this one; a process started otherwise is alone."""
    group = mx.distributed.init()
    return Ranks(group) if group.size() > 1 else ALONE


def gather_rows(rows: mx.array, ranks: Ranks) -> mx.array:
    r"""The rows of all processes below each other, with gradients for a loss that every process computes whole.

    Each process gets the gradient by its own rows. The gradient of a shared loss is the *sum* of what flows through the
    rows of all, while the loop averages over processes: it is multiplied by their number here.

    Args:
        rows: ``(B, D)``, of the same shape in every process.
        ranks: The processes, N.

    Returns:
        ``(N B, D)``, process by process.
    """
    if ranks.is_alone:
        return rows
    # The second term is 0; it adds what is missing in the gradient.
    scaled = rows + (ranks.size - 1) * (rows - mx.stop_gradient(rows))
    return mx.distributed.all_gather(scaled, group=ranks.group)
