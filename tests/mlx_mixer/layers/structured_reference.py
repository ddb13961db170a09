"""Structured token mixing as loops in float64 that follow the equations letter by letter."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mlx_mixer.config import LanguageMixerConfig

Array = npt.NDArray[np.float64]


def slow_structured(config: LanguageMixerConfig, parameters: dict[str, Any], x: Array) -> Array:
    """What a structured token mixing computes of one text, ``(L, D)``."""
    p = parameters
    if config.token_mixing == "toeplitz":
        return slow_toeplitz(p["weight"], p["bias"], x)
    rows = x @ p["in_proj"]["weight"].T + p["in_proj"]["bias"] if "in_proj" in p else x
    width = config.hidden_size // config.num_heads
    mixed = np.concatenate(
        [slow_head(config, p, head, rows[:, head * width : (head + 1) * width]) for head in range(config.num_heads)],
        axis=1,
    )
    return mixed @ p["out_proj"]["weight"].T + p["out_proj"]["bias"] if "out_proj" in p else mixed


def slow_head(config: LanguageMixerConfig, p: dict[str, Any], head: int, x: Array) -> Array:
    w, bias, kind = p["weight"][head], p["bias"][head], config.token_mixing
    factors = np.ones(2)
    if "decay" in p:
        stored = p["decay"][0 if len(p["decay"]) == 1 else head]
        factors = np.broadcast_to(np.clip(stored, *config.decay_clip), 2)
    rooted = factors ** (1 / config.decay_constant)
    side = kind.removeprefix("diag_").removesuffix("_heads")
    if kind in ("mixed_heads", "parallel_heads", "diag_heads"):
        side = "col" if head < config.num_heads // 2 else "row"
    if side == "kernel_col":
        return slow_kernel(w, bias, rooted[0], x)
    matrix = np.zeros((len(x), len(x)))
    for t in range(len(x)):
        for s in range(t + 1):
            if side == "row":
                matrix[t, s] = w[0, s] * rooted[0] ** (t - s)
            elif side == "col":
                matrix[t, s] = w[0, t] * rooted[0] ** (t - s)
            else:
                divisor = config.decay_constant if "decay" in p else 1.0
                matrix[t, s] = w[0, s] * factors[0] ** (t - s) / divisor + w[1, t] * rooted[1] ** (t - s)
        if "diagonal" in p:
            matrix[t, t] = p["diagonal"][head, t]
    return matrix @ x + bias[: len(x), None]


def slow_kernel(w: Array, bias: Array, factor: float, x: Array) -> Array:
    taps, out = len(w), np.zeros_like(x)
    for t in range(len(x)):
        for e in range(x.shape[1]):
            for j in range(taps):
                feature = e + j - (taps - 1)
                if feature >= 0:
                    out[t, e] += sum(w[j, t] * factor ** (t - s) * x[s, feature] for s in range(t + 1))
            out[t, e] += bias[t]
    return out


def slow_toeplitz(w: Array, bias: Array, x: Array) -> Array:
    return np.array([sum(w[t - s] * x[s] for s in range(t + 1)) + bias[t] for t in range(len(x))])
