"""How the next token is chosen, as one validated value.

It knows no arrays, so that a screen can use it before MLX is loaded.
"""

import math
from dataclasses import dataclass

from mlx_mixer.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """Settings of one continuation.

    Attributes:
        temperature: Divides the logits before sampling; 0 always takes the most likely token.
        top_p: Keep the most likely tokens whose probabilities add up to this; 1 keeps all.
        top_k: Keep this many of the most likely tokens; 0 keeps all.
        min_p: Keep tokens at least this likely, as a share of the most likely one; 0 keeps all.
        repetition_penalty: Makes tokens of the recent text less likely; 1 does nothing.
        max_tokens: Stop after this many new tokens.
        seed: Makes a continuation repeatable; `None` draws a new one each time.
    """

    temperature: float = 0.8
    top_p: float = 0.95
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.1
    max_tokens: int = 200
    seed: int | None = None

    def __post_init__(self) -> None:
        _check("temperature", self.temperature, 0, 10)
        _check("top_p", self.top_p, 0, 1)
        _check("top_k", self.top_k, 0, 1 << 20, whole=True)
        _check("min_p", self.min_p, 0, 1)
        _check("repetition_penalty", self.repetition_penalty, 0.1, 10)
        _check("max_tokens", self.max_tokens, 1, 1 << 20, whole=True)
        if self.seed is not None:
            _check("seed", self.seed, 0, (1 << 63) - 1, whole=True)


def _check(name: str, value: float, low: float, high: float, *, whole: bool = False) -> None:
    kind = int if whole else int | float
    if isinstance(value, bool) or not isinstance(value, kind) or not (math.isfinite(value) and low <= value <= high):
        raise UsageError(f"{name} is {value!r}; it must be a {'whole ' if whole else ''}number from {low} to {high}")
