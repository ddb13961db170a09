"""Key tables of one family, and how the keys of a file are matched with them.

A table is data: patterns of stored names with holes for the layer `{i}` (or `{n}`, in a second stack of layers) and the
head `{j}`, the parameter each becomes, the function that changes its layout, and its shape in symbols. Matching a file
binds the symbols, which is how the configuration is inferred and how shapes that do not fit together are found.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from convert.families.transforms import Transform, unchanged
from convert.sources.weight_file import TensorInfo
from mlx_mixer.errors import ConversionError
from mlx_mixer.foreign import quoted

Sizes = dict[str, int]
# Layer and head of every stored tensor that a rule matched; None where its name has no such number.
Found = Mapping["Rule", set[tuple[int | None, int | None]]]
# The size that counts the layers of each stack.
STACKS = {"i": "layers", "n": "second_layers"}


@dataclass(frozen=True)
class Rule:
    """One parameter of ours and the stored tensors it comes from.

    Attributes:
        stored: Name pattern in the file.
        target: Name pattern of the parameter.
        shape: Stored axes as symbols ("L L k") or numbers; alternatives are separated by "|", and "k=1" after the axes
            is a size that such a shape implies.
        transform: What is done to the arrays.
        is_optional: Whether the tensor may be absent, in all layers alike.
    """

    stored: str
    target: str
    shape: str
    transform: Transform = unchanged
    is_optional: bool = False

    @property
    def stack(self) -> str | None:
        """The hole of its layer; None outside of layers."""
        return next((hole for hole in STACKS if f"{{{hole}}}" in self.stored), None)


@dataclass(frozen=True)
class Assignment:
    """Where one parameter comes from: stored names, in head order, and the function that joins them."""

    target: str
    stored: tuple[str, ...]
    transform: Transform


@dataclass(frozen=True)
class Match:
    """What a table found in a file.

    Attributes:
        assignments: One per parameter.
        sizes: Value of every shape symbol, "layers" and "second_layers", and "heads" (0 without heads).
    """

    assignments: tuple[Assignment, ...]
    sizes: Sizes


def match_table(tensors: Mapping[str, TensorInfo], rules: Sequence[Rule], dropped: Sequence[str]) -> Match:
    """Match all tensors of a file with a table.

    Args:
        tensors: Element type and shape by plain name.
        rules: The table.
        dropped: Patterns of tensors that the network does not use.

    Raises:
        ConversionError: If a tensor is unknown, missing, or of a shape that contradicts the others.
    """
    found = _find(tensors, rules, dropped)
    heads = _count_heads(found)
    layers = {hole: _count_layers(found, hole) for hole in STACKS}
    sizes: Sizes = {"heads": heads, **{STACKS[hole]: count for hole, count in layers.items()}}
    assignments = []
    for rule in rules:
        if rule.is_optional and not found[rule]:
            continue
        for layer in range(layers[rule.stack]) if rule.stack else (None,):
            expected = [
                fill(rule.stored, i=layer, n=layer, j=head)
                for head in (range(heads) if "{j}" in rule.stored else (None,))
            ]
            for name in expected:
                if name not in tensors:
                    raise ConversionError(f"the checkpoint lacks {name}")
                _bind(name, tensors[name].shape, rule.shape, sizes)
            assignments.append(Assignment(fill(rule.target, i=layer, n=layer), tuple(expected), rule.transform))
    return Match(tuple(assignments), sizes)


def pattern_of(stored: str) -> re.Pattern[str]:
    """Compile a name pattern; numbers in names are written without leading zeros."""
    escaped = re.escape(stored)
    for hole in (*STACKS, "j"):
        escaped = escaped.replace(re.escape(f"{{{hole}}}"), rf"(?P<{hole}>0|[1-9]\d{{0,3}})")
    return re.compile(escaped)


def fill(pattern: str, **holes: object) -> str:
    """Put layers and heads into the holes of a name pattern."""
    for hole, value in holes.items():
        pattern = pattern.replace(f"{{{hole}}}", str(value))
    return pattern


def _find(names: Iterable[str], rules: Sequence[Rule], dropped: Sequence[str]) -> Found:
    found: dict[Rule, set[tuple[int | None, int | None]]] = {rule: set() for rule in rules}
    patterns = [(pattern_of(rule.stored), rule) for rule in rules]
    unused = [pattern_of(stored) for stored in dropped]
    unknown = []
    for name in names:
        for pattern, rule in patterns:
            if match := pattern.fullmatch(name):
                holes = match.groupdict()
                layer, head = (
                    int(holes[hole]) if hole is not None and hole in holes else None for hole in (rule.stack, "j")
                )
                found[rule].add((layer, head))
                break
        else:
            if not any(pattern.fullmatch(name) for pattern in unused):
                unknown.append(name)
    if unknown:
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        raise ConversionError(f"unknown tensors in the checkpoint: {', '.join(map(quoted, unknown[:3]))}{more}")
    return found


def _count_layers(found: Found, hole: str) -> int:
    """Number of layers of a stack that the highest index announces."""
    layers = {layer for rule, places in found.items() if rule.stack == hole for layer, _ in places if layer is not None}
    missing = sorted(set(range(max(layers, default=0))) - layers)
    if missing:
        raise ConversionError(f"block {missing[0]} is missing: the checkpoint has blocks up to {max(layers)}")
    return len(layers)


def _count_heads(found: Found) -> int:
    """Number of heads that the highest index announces; 0 for a table without them."""
    return max((head for places in found.values() for _, head in places if head is not None), default=-1) + 1


def _bind(name: str, shape: tuple[int, ...], symbols: str, sizes: Sizes) -> None:
    """Give the symbols of a shape their values, or check them against the values they have."""
    alternatives = [_Axes.parse(alternative) for alternative in symbols.split("|")]
    for axes in alternatives:
        bound = axes.bind(shape, sizes)
        if bound is not None:
            sizes.update(bound)
            return
    symbols_used = dict.fromkeys(symbol for axes in alternatives for symbol in (*axes.names, *axes.implied))
    known = ", ".join(f"{symbol} = {sizes[symbol]}" for symbol in symbols_used if symbol in sizes)
    expected = " or ".join(f"({', '.join(axes.names)})" for axes in alternatives)
    raise ConversionError(f"{name} has shape {shape}; expected {expected}{f' with {known}' if known else ''}")


@dataclass(frozen=True)
class _Axes:
    names: tuple[str, ...]
    implied: Mapping[str, int]

    @classmethod
    def parse(cls, text: str) -> "_Axes":
        words = text.split()
        implied = dict(word.split("=") for word in words if "=" in word)
        names = tuple(word for word in words if "=" not in word)
        return cls(names, {symbol: int(value) for symbol, value in implied.items()})

    def bind(self, shape: tuple[int, ...], sizes: Sizes) -> Sizes | None:
        """The sizes that this shape adds, or None if it does not fit."""
        if len(self.names) != len(shape):
            return None
        bound = dict(sizes)
        for name, size in (*zip(self.names, shape, strict=True), *self.implied.items()):
            expected = int(name) if name.isdigit() else bound.setdefault(name, size)
            if size != expected or size == 0:
                return None
        return bound
