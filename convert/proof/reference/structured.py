r"""Structured recurrent mixers: a feed-forward with SiLU first, then token mixing by a matrix of few weights.

Every token mixer acts as :math:`y_t = \mathrm{bias}_t + \sum_{s \le t} M_{s,t}\, x_s`. The matrices are written out
here, lag by lag; the product runs them as recurrences.
"""

import numpy as np

from convert.proof.reference.arithmetic import Float64Array, mix_positions, silu
from convert.proof.reference.masked import Mixing
from convert.proof.reference.modules import linear, norm, second_linear
from convert.proof.reference.source import Source

CLIP = (0.9, 1.0)  # of a stored decay, where it is used


def block(source: Source, name: str, mixing: Mixing, x: Float64Array) -> Float64Array:
    """One block."""
    ff = f"{name}.channel_mixing_layer"
    x = x + second_linear(source, ff, silu(linear(source, f"{ff}.0", norm(source, f"{name}.channel_norm", x))))
    return x + mixing(norm(source, f"{name}.token_norm", x))


def token_mixing(source: Source, name: str, kind: str, constant: float, uses_projections: bool) -> Mixing:
    """The token mixing of a block.

    Args:
        source: The checkpoint.
        name: Of the block, such as "mixer_blocks.0".
        kind: Of token mixing, as the `mixer` hint calls it.
        constant: c in ``clip(decay) ** (1 / c)``.
        uses_projections: Whether parallel heads use the projections that are stored with them.
    """
    layer = f"{name}.token_mixing_layer"
    if kind == "parallel_heads":
        return _parallel_heads(source, layer, constant, uses_projections)
    if kind.endswith("_heads"):
        return _heads(source, layer, kind, constant)
    return _one(source, layer, kind, constant)


def _one(source: Source, name: str, kind: str, constant: float) -> Mixing:
    """A mixer without heads, or one head: its tensors lie under `name`."""

    def mix(x: Float64Array) -> Float64Array:
        length = x.shape[-2]
        weight = source.read(f"{name}.weight")[:, :length].astype(np.float64)
        decay = source.read(f"{name}.decay_value") if f"{name}.decay_value" in source else None
        if kind == "kernel_col":
            out = _mix_taps(x, weight, _rooted(decay, constant))
        elif kind == "combined":
            out = _apply(_combined(weight, decay, constant), x)
        elif kind == "toeplitz":
            out = _apply(_toeplitz(weight[0]), x)
        else:
            matrix = _sided(kind.removeprefix("diag_"), weight[0], _rooted(decay, constant))
            if kind.startswith("diag_"):
                # One value per position, or one for all of them.
                np.fill_diagonal(matrix, source.read(f"{name}.diag_weight").reshape(-1)[:length])
            out = _apply(matrix, x)
        return out + source.read(f"{name}.bias")[:length, None]

    return mix


def _heads(source: Source, layer: str, kind: str, constant: float) -> Mixing:
    """Heads that are modules of their own, the first half of mixed ones over columns and the second over rows."""
    count = source.count(f"{layer}.mixer_heads.{{}}.weight")

    def kind_of(head: int) -> str:
        if kind in ("col_heads", "combined_heads"):
            return kind.removesuffix("_heads")
        side = "col" if head < count // 2 else "row"
        return f"diag_{side}" if kind == "diag_heads" else side

    def mix(x: Float64Array) -> Float64Array:
        has_projections = f"{layer}.out_proj.weight" in source
        width = x.shape[-1] // count
        mixed = []
        for head in range(count):
            if has_projections:
                seen = linear(source, f"{layer}.proj_head.{head}", x)
            else:
                seen = x[..., head * width : (head + 1) * width]
            mixed.append(_one(source, f"{layer}.mixer_heads.{head}", kind_of(head), constant)(seen))
        joined = np.concatenate(mixed, axis=-1)
        return linear(source, f"{layer}.out_proj", joined) if has_projections else joined

    return mix


def _parallel_heads(source: Source, layer: str, constant: float, uses_projections: bool) -> Mixing:
    """Heads that are rows of one array; both halves use the second of the stored decays."""

    def mix(x: Float64Array) -> Float64Array:
        weight = source.read(f"{layer}.mixer_heads.weight")[:, : x.shape[-2]].astype(np.float64)
        bias = source.read(f"{layer}.mixer_heads.bias")
        stored = f"{layer}.mixer_heads.decay_value"
        delta = _rooted(source.read(stored) if stored in source else None, constant)
        seen = linear(source, f"{layer}.in_proj", x) if uses_projections else x
        count, width = len(weight), x.shape[-1] // len(weight)
        mixed = []
        for head in range(count):
            matrix = _sided("col" if head < count // 2 else "row", weight[head], delta)
            part = _apply(matrix, seen[..., head * width : (head + 1) * width])
            mixed.append(part + bias[head, : x.shape[-2], None])
        joined = np.concatenate(mixed, axis=-1)
        return linear(source, f"{layer}.out_proj", joined) if uses_projections else joined

    return mix


def _sided(side: str, weight: Float64Array, delta: float) -> Float64Array:
    """``w_s delta ** (t - s)`` for rows and ``w_t delta ** (t - s)`` for columns, as M[s, t]."""
    faded = _powers(delta, len(weight))
    return weight[:, None] * faded if side == "row" else weight[None, :] * faded


def _combined(weight: Float64Array, decay: Float64Array | None, constant: float) -> Float64Array:
    """A row part and a column part; the factor of the row part is not rooted, and divided by c as a whole."""
    if decay is None:
        return _sided("row", weight[0], 1.0) + _sided("col", weight[1], 1.0)
    first = float(np.clip(decay.reshape(-1)[0].astype(np.float64), *CLIP))
    return _sided("row", weight[0], first) / constant + _sided("col", weight[1], _rooted(decay, constant))


def _toeplitz(weight: Float64Array) -> Float64Array:
    """``w_(t - s)`` as M[s, t]."""
    lags = _lags(len(weight))
    return np.where(lags >= 0, weight[np.maximum(lags, 0)], 0.0)


def _mix_taps(x: Float64Array, weight: Float64Array, delta: float) -> Float64Array:
    """A column mixer per tap i, over features shifted by ``i - (k - 1)``, with zeros before the first feature."""
    taps, dims = len(weight), x.shape[-1]
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(taps - 1, 0)])
    out = np.zeros(x.shape)
    for tap in range(taps):
        out += _apply(_sided("col", weight[tap], delta), padded[..., tap : tap + dims])
    return out


def _apply(matrix: Float64Array, x: Float64Array) -> Float64Array:
    """M[s, t] to the rows of ``(B, n, d)``."""
    return mix_positions(matrix.T, x)


def _powers(delta: float, length: int) -> Float64Array:
    lags = _lags(length)
    return np.where(lags >= 0, delta ** np.maximum(lags, 0), 0.0)


def _lags(length: int) -> np.ndarray:
    """``t - s`` as [s, t]."""
    return np.arange(length)[None, :] - np.arange(length)[:, None]


def _rooted(decay: np.ndarray | None, constant: float) -> float:
    """``clip(decay) ** (1 / c)`` of the last decay that is stored, 1 without one."""
    if decay is None:
        return 1.0
    return float(np.clip(decay.reshape(-1)[-1].astype(np.float64), *CLIP) ** (1 / constant))
