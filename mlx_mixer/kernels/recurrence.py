r"""Structured token mixing as a recurrence: a state of a few rows instead of all rows seen.

With per-position factor :math:`\delta`, entering weights u and leaving weights v, and P parts that add up,

.. math::
    M_{ts} = \sum_p v^{(p)}_t\, \delta_p^{\,t-s}\, u^{(p)}_s \quad (s \le t), \qquad
    y_t = b_t + \sum_{s \le t} M_{ts} x_s

is the same as

.. math:: S^{(p)}_t = \delta_p S^{(p)}_{t-1} + u^{(p)}_t x_t, \qquad y_t = b_t + \sum_p v^{(p)}_t S^{(p)}_t,

in which nothing is ever divided by a weight, so that weights of zero are harmless. Many positions at once are one
product with M inside a chunk and one with the state before it; a single position is the recurrence itself. States are
held in float32 whatever the dtype of the rows: they are sums over the whole text.
"""

from dataclasses import dataclass
from typing import NamedTuple

import mlx.core as mx

from mlx_mixer.kernels.row_mix import mix_rows

# A longer chunk means larger matrices, a shorter one more of them: on a CPU 128 was fastest of 64 to 1024.
CHUNK = 128


class Columns(NamedTuple):
    """Weights of n consecutive positions.

    Attributes:
        enter: u, ``(H, P, n)``.
        leave: v, ``(H, P, n)``; with taps ``(1, K, n)``.
        diagonal: What takes the place of :math:`M_{tt}`, ``(H, n)``, or `None`.
        bias: ``(H, n)``.
    """

    enter: mx.array
    leave: mx.array
    diagonal: mx.array | None
    bias: mx.array


@dataclass(frozen=True)
class Recurrence:
    r"""One structured product. Head h of H owns D / H features.

    Attributes:
        weight: ``(H, P, L)``; with taps ``(1, K, L)``.
        bias: ``(H, L)``.
        enters: ``(H, P, 1)`` booleans: whether a part's weight is its u (and its v is `row_scale`) or its v (and its u
            is 1).
        decay: :math:`\delta`, ``(H, P)`` float32, or `None` for 1.
        diagonal: ``(H, L)``, or `None`.
        row_scale: v of the parts whose weight is u.
        has_taps: Whether the K weights of a position belong to neighbouring features of one state: :math:`y_t[e] =
            b_t + \sum_j v^{(j)}_t S_t[e + j - (K - 1)]`, zeros before the first feature.
    """

    weight: mx.array
    bias: mx.array
    enters: mx.array
    decay: mx.array | None = None
    diagonal: mx.array | None = None
    row_scale: float = 1.0
    has_taps: bool = False

    @property
    def num_states(self) -> int:
        """P, the rows that are remembered."""
        return self.enters.shape[1]

    def columns(self, start: int | mx.array, count: int) -> Columns:
        """Weights of positions `start` to `start + count`; `start` may be a ``(1,)`` array."""
        weight = _slice_last(self.weight, start, count)
        one = mx.ones((), weight.dtype)
        if self.has_taps:
            enter, leave = mx.broadcast_to(one, (1, 1, count)), weight
        else:
            enter = mx.where(self.enters, weight, one)
            leave = mx.where(self.enters, one * self.row_scale, weight)
        diagonal = None if self.diagonal is None else _slice_last(self.diagonal, start, count)
        return Columns(enter, leave, diagonal, _slice_last(self.bias, start, count))

    def powers(self, count: int) -> mx.array:
        r"""Powers 0 to `count` - 1 of :math:`\delta`, ``(H, P, count)`` float32, or ``(1, 1, count)`` ones."""
        if self.decay is None:
            return mx.ones((1, 1, count))
        return self.decay[..., None] ** mx.arange(count)


def mix_recurrent(
    recurrence: Recurrence, rows: mx.array, states: mx.array | None = None, start: int = 0
) -> tuple[mx.array, mx.array]:
    """Mix rows with those before them, chunk after chunk.

    Args:
        recurrence: The product.
        rows: ``(B, n, D)``, positions `start` to `start + n`.
        states: ``(B, P, D)`` float32, what earlier positions left; `None` if there are none.
        start: Position of the first row.

    Returns:
        ``(B, n, D)`` in the dtype of the rows, and the new states.
    """
    mixed = []
    for begin in range(0, rows.shape[1], CHUNK):
        chunk = rows[:, begin : begin + CHUNK]
        mix = _mix_taps if recurrence.has_taps else _mix_chunk
        values, states = mix(recurrence, chunk, states, start + begin)
        mixed.append(values.astype(rows.dtype))
    assert states is not None
    return (mixed[0] if len(mixed) == 1 else mx.concatenate(mixed, axis=1)), states


def step_recurrent(
    recurrence: Recurrence, row: mx.array, states: mx.array, position: mx.array
) -> tuple[mx.array, mx.array]:
    """Mix one row with those before it; the graph is the same at every position.

    Args:
        recurrence: The product.
        row: ``(B, 1, D)``.
        states: ``(B, P, D)`` float32.
        position: ``(1,)`` int32.

    Returns:
        ``(B, 1, D)`` in the dtype of the row, and the new states.
    """
    enter, leave, diagonal, bias = recurrence.columns(position, 1)
    num_heads = enter.shape[0]
    heads = _split(row.astype(mx.float32), num_heads)  # (B, 1, H, D / H)
    carried = _split(states, num_heads)
    if recurrence.decay is not None:
        carried = carried * recurrence.decay.T[..., None]
    new = carried + _by_head(enter)[:, 0] * heads
    states = new.reshape(states.shape)
    if recurrence.has_taps:
        mixed = _split(_leave_by_taps(states, leave), num_heads)
    elif diagonal is None:
        mixed = (_by_head(leave)[:, 0] * new).sum(axis=1, keepdims=True)
    else:
        mixed = (_by_head(leave)[:, 0] * carried).sum(axis=1, keepdims=True) + diagonal * heads
    return (mixed + bias).astype(row.dtype).reshape(row.shape), states


def _mix_chunk(
    recurrence: Recurrence, rows: mx.array, states: mx.array | None, start: int
) -> tuple[mx.array, mx.array]:
    count = rows.shape[1]
    columns = recurrence.columns(start, count)
    powers = recurrence.powers(count + 1)
    num_heads = columns.bias.shape[0]
    mixed = _split(mix_rows(_matrix(columns, powers)[:, None].astype(rows.dtype), rows), num_heads)
    mixed = mixed + columns.bias.T[..., None]
    if states is not None:
        carried = _by_head(columns.leave * powers[..., 1:]) * _split(states, num_heads)[:, :, None]
        mixed = mixed + carried.sum(axis=1)  # from (B, P, n, H, D / H)
    return mixed.reshape(rows.shape), _new_states(columns.enter, powers, rows, states)


def _mix_taps(recurrence: Recurrence, rows: mx.array, states: mx.array | None, start: int) -> tuple[mx.array, mx.array]:
    """One state with one head: the states of all positions first, then their taps."""
    count = rows.shape[1]
    columns = recurrence.columns(start, count)
    powers = recurrence.powers(count + 1)
    through = mix_rows(_lags(powers, count), rows.astype(mx.float32))
    if states is not None:
        through = through + powers[0, :, 1:, None] * states
    mixed = _leave_by_taps(through, columns.leave) + columns.bias[0, :, None]
    return mixed, through[:, -1:]


def _matrix(columns: Columns, powers: mx.array) -> mx.array:
    """M, ``(H, n, n)``; what stands above the diagonal is for the product to mask."""
    count = columns.enter.shape[2]
    matrix = columns.leave[..., None] * _lags(powers, count) * columns.enter[:, :, None]
    matrix = matrix.sum(axis=1)
    if columns.diagonal is None:
        return matrix
    return mx.where(mx.eye(count, dtype=mx.bool_), columns.diagonal[..., None], matrix)


def _lags(powers: mx.array, count: int) -> mx.array:
    """Power t - s at ``[..., t, s]``, and power 0 above the diagonal."""
    places = mx.arange(count)
    return powers[..., mx.maximum(places[:, None] - places, 0)]


def _new_states(enter: mx.array, powers: mx.array, rows: mx.array, states: mx.array | None) -> mx.array:
    batch, count, dims = rows.shape
    num_heads, num_states, _ = enter.shape
    weight = enter * powers[..., count - 1 :: -1]  # the last of the n + 1 powers belongs to the state before
    new = (weight @ _split(rows, num_heads).swapaxes(1, 2)).swapaxes(1, 2)  # (B, P, H, D / H), float32 as powers are
    if states is not None:
        new = new + _by_head(powers[..., count:])[:, 0] * _split(states, num_heads)
    return new.reshape(batch, num_states, dims)


def _leave_by_taps(states: mx.array, leave: mx.array) -> mx.array:
    """Sum over taps j of ``leave[0, j, t]`` times ``states[:, t, e + j - (K - 1)]``, ``(B, n, D)``."""
    taps, dims = leave.shape[1], states.shape[2]
    padded = mx.pad(states, [(0, 0), (0, 0), (taps - 1, 0)])
    total = leave[0, 0, :, None] * padded[..., :dims]
    for tap in range(1, taps):
        total = total + leave[0, tap, :, None] * padded[..., tap : tap + dims]
    return total


def _split(rows: mx.array, num_heads: int) -> mx.array:
    """``(B, n, D)`` to ``(B, n, H, D / H)``."""
    batch, count, dims = rows.shape
    return rows.reshape(batch, count, num_heads, dims // num_heads)


def _by_head(values: mx.array) -> mx.array:
    """``(H, P, n)`` to ``(P, n, H, 1)``, which spreads over the features of each head."""
    return values.transpose(1, 2, 0)[..., None]


def _slice_last(array: mx.array, start: int | mx.array, count: int) -> mx.array:
    if isinstance(start, int):
        return array[..., start : start + count]
    shape = (*array.shape[:-1], count)
    return mx.slice(array, start, axes=(array.ndim - 1,), slice_size=shape)
