"""Deterministic damage: of bytes, of numbers that mean something, and of JSON values that keep their grammar."""

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

# Sizes at which arithmetic of some width ends.
EDGES = (0, 1, -1, 7, 8, 127, 128, 255, 256, 1 << 15, 1 << 16, 1 << 20, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 48)
LIMITS = (*EDGES, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 64) - 32, 1 << 64, 1 << 70, -(1 << 63))
TEXTS = (
    "",
    "\x00",
    "\x1b]0;owned\x07",
    "a\nb",
    "\u202egnp.exe",
    "\ud800",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "C:\\x",
    "\\\\host\\share",
    ".",
    "a" * 600,
    "é" * 300,
    "%s%n",
    "__metadata__",
    "{i}",
    "NaN",
)
ODD = (None, True, False, [], {}, 0.5, -0.0, 1e308, 1e999, float("nan"), float("inf"), "", "x", [[]], {"": {}})


def pick(generator: random.Random, choices: Sequence[T]) -> T:
    return choices[generator.randrange(len(choices))]


def damage_bytes(generator: random.Random, raw: bytes, low: int = 0, high: int | None = None) -> bytes:
    """A few changes of bytes within a range: set, delete, insert, repeat, swap, cut off, or a word of an edge value."""
    changed = bytearray(raw)
    for _ in range(generator.choice((1, 1, 2, 3, 8))):
        end = min(len(changed), len(changed) if high is None else high)
        if end <= low:
            break
        at = generator.randrange(low, end)
        match generator.randrange(8):
            case 0:
                changed[at] = generator.randrange(256)
            case 1:
                changed[at] ^= 1 << generator.randrange(8)
            case 2:
                del changed[at : at + generator.choice((1, 1, 2, 4, 8, 64))]
            case 3:
                changed[at:at] = generator.randbytes(generator.choice((1, 2, 4, 8)))
            case 4:
                part = changed[at : at + generator.choice((1, 4, 16, 256))]
                changed[at:at] = part * generator.choice((1, 2, 8))
            case 5:
                width = generator.choice((1, 2, 4, 8))
                value = pick(generator, LIMITS) & ((1 << 8 * width) - 1)
                changed[at : at + width] = value.to_bytes(width, generator.choice(("little", "little", "big")))
            case 6:
                other = generator.randrange(low, end)
                changed[at : at + 8], changed[other : other + 8] = changed[other : other + 8], changed[at : at + 8]
            case _:
                if generator.random() < 0.2:
                    del changed[at:]
    return bytes(changed)


def damage_value(generator: random.Random, value: Any) -> Any:
    """One node of a JSON value changed: another value, another type, moved, doubled, removed, or nested deeply."""
    places = list(_places(value))
    if not places:
        return copy.deepcopy(pick(generator, ODD))
    container, key = pick(generator, places)
    # A copy, for no value may come to stand in itself.
    old = copy.deepcopy(container[key])
    match generator.randrange(9):
        case 0:
            container[key] = pick(generator, LIMITS)
        case 1:
            container[key] = pick(generator, TEXTS)
        case 2:
            container[key] = copy.deepcopy(pick(generator, ODD))
        case 3:
            other, other_key = pick(generator, places)
            container[key] = copy.deepcopy(other[other_key])
            if other is not container:
                other[other_key] = old
        case 4:
            del container[key]
        case 5:
            if isinstance(container, list):
                container.insert(key, old)
            else:
                container[pick(generator, TEXTS)] = old
        case 6:
            container[key] = old + pick(generator, (-1, 1, 4, 8, 1 << 40)) if type(old) in (int, float) else [old]
        case 7:
            if isinstance(container, dict):
                container[pick(generator, TEXTS) if generator.random() < 0.5 else str(key) + "0"] = container.pop(key)
            else:
                container[key] = {"": old}
        case _:
            depth = generator.choice((3, 30, 5000)) if generator.random() < 0.3 else 3
            container[key] = _Nested(depth, generator.random() < 0.5)
    return value


class _Nested(dict[str, Any]):
    """A value that many brackets open; only `dump` writes it, because no parser would build it."""

    def __init__(self, depth: int, is_list: bool) -> None:
        super().__init__()
        self.depth, self.is_list = depth, is_list

    def __deepcopy__(self, _memo: object) -> "_Nested":
        return self

    def text(self) -> str:
        return "[" * self.depth + "]" * self.depth if self.is_list else '{"a":' * self.depth + "1" + "}" * self.depth


def dump(generator: random.Random, value: Any) -> bytes:
    """JSON text of a value, sometimes with a key twice, NaN, odd spaces, or other encodings of the same characters."""
    text = _text(value)
    if generator.random() < 0.1 and '"' in text:
        # The first entry of some object once more.
        start = text.find("{", generator.randrange(len(text)))
        end = text.find(",", start)
        if 0 <= start < end:
            text = text[:end] + "," + text[start + 1 : end] + text[end:]
    if generator.random() < 0.05:
        text = text.replace(":", " :\n\t", 3)
    return text.encode("utf-8", "surrogatepass" if generator.random() < 0.5 else "replace")


def mutated_json(generator: random.Random, make: Callable[[], Any]) -> bytes:
    """A fresh value with a few nodes damaged; one time in four the text is damaged too."""
    value = make()
    for _ in range(generator.choice((1, 1, 1, 2, 3))):
        value = damage_value(generator, value)
    raw = dump(generator, value)
    return damage_bytes(generator, raw) if generator.random() < 0.25 else raw


def _text(value: Any) -> str:
    match value:
        case _Nested():
            return value.text()
        case dict():
            return (
                "{"
                + ",".join(f"{json.dumps(str(key), ensure_ascii=False)}:{_text(part)}" for key, part in value.items())
                + "}"
            )
        case list() | tuple():
            return "[" + ",".join(map(_text, value)) + "]"
        case float():
            return "1e999" if value == float("inf") else json.dumps(value)
    return json.dumps(value, ensure_ascii=False)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place of a value as (container, key)."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        container = waiting.pop()
        if isinstance(container, _Nested):
            continue
        pairs = container.items() if isinstance(container, dict) else enumerate(container)
        for key, part in pairs:
            found.append((container, key))
            if isinstance(part, dict | list):
                waiting.append(part)
    return found
