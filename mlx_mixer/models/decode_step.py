"""One new position for any number of sequences, as one compiled graph."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import mlx.core as mx
from mlx import nn

from mlx_mixer.cache import LayerCache, LayerStep

# Entries of a cache are arrays or named tuples of them; compiled functions see plain nested sequences.
Entries = list[Any]
Hidden = tuple[mx.array, list[list[Entries]]]


class DecodeGroup(NamedTuple):
    """Sequences of the same length, decoded from one cache per layer.

    Attributes:
        size: How many.
        cache: One entry per layer.
    """

    size: int
    cache: Sequence[LayerCache]


class GroupedStep:
    """One decode step of one layer for several groups: rows are mixed group by group, each at its own position."""

    def __init__(self, steps: Sequence[LayerStep], sizes: Sequence[int]) -> None:
        self.steps = steps
        self._cuts = [sum(sizes[: index + 1]) for index in range(len(sizes) - 1)]

    def mix(self, index: int, mixing: Any, rows: mx.array) -> mx.array:  # the mixing of the layer's own kind
        """See `mlx_mixer.cache.DecodeCache.mix`."""
        parts = mx.split(rows, self._cuts, axis=0)
        mixed = [step.mix(index, mixing, part) for step, part in zip(self.steps, parts, strict=True)]
        return mx.concatenate(mixed, axis=0)


class DecodeStep:
    """Runs single positions through a model's layers with fixed shapes, so that one trace serves every position.

    Args:
        layers: The model's blocks.
        embed: Token vectors of ``(B, 1)`` ids.
        finish: What the model does after its last block.
        weights: The model's state: inputs of the graph, which stays right when weights are loaded or trained later.
    """

    def __init__(
        self,
        layers: Sequence[nn.Module],
        embed: Callable[[mx.array], mx.array],
        finish: Callable[[mx.array], mx.array],
        weights: dict[str, Any],
    ) -> None:
        self._layers = layers
        self._embed = embed
        self._finish = finish
        # One traced function per division into groups; all of a session's steps share it.
        self._compiled: dict[tuple[int, ...], Callable[..., Hidden]] = {}
        self._weights = weights

    def __call__(self, ids: mx.array, groups: Sequence[DecodeGroup]) -> mx.array:
        """What the output head sees of one new position per sequence.

        Args:
            ids: ``(B, 1)``, the sequences of each group after those of the one before.
            groups: Their caches, which take in the position.

        Returns:
            ``(B, 1, D)``.
        """
        mixings = [layer.token_mixing.mixings for layer in self._layers]
        entries, start = [], 0
        for group in groups:
            like = self._embed(ids[start : start + group.size])
            start += group.size
            entries.append([cache.enter_step(mixing, like) for mixing, cache in zip(mixings, group.cache, strict=True)])
        positions = [mx.array([group.cache[0].offset]) for group in groups]
        hidden, left = self._function(tuple(group.size for group in groups))(ids, positions, entries)
        for group, group_entries in zip(groups, left, strict=True):
            for cache, layer_entries in zip(group.cache, group_entries, strict=True):
                cache.leave_step(layer_entries)
        return hidden

    def _function(self, sizes: tuple[int, ...]) -> Callable[..., Hidden]:
        if sizes not in self._compiled:

            def step(ids: mx.array, positions: list[mx.array], entries: list[list[Entries]]) -> Hidden:
                return self.trace(ids, positions, entries, sizes)

            self._compiled[sizes] = mx.compile(step, inputs=[self._weights])
        return self._compiled[sizes]

    def trace(
        self, ids: mx.array, positions: list[mx.array], entries: list[list[Entries]], sizes: tuple[int, ...]
    ) -> Hidden:
        """The step itself; runs once for each set of shapes."""
        x = self._embed(ids)
        left: list[list[Entries]] = [[] for _ in sizes]
        for index, layer in enumerate(self._layers):
            steps = [
                layer.token_mixing.step_cache(position, group_entries[index])
                for position, group_entries in zip(positions, entries, strict=True)
            ]
            x = layer(x, steps[0] if len(steps) == 1 else GroupedStep(steps, sizes))
            for group_left, step in zip(left, steps, strict=True):
                group_left.append(list(step.entries))
        return self._finish(x), left
