"""Decoding with the sublayer step, position by position, against the whole sequence at once in float64."""

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from mlx_mixer.kernels.mix_step import mix_step
from mlx_mixer.kernels.recent_rows import BLOCK

Numbers = NDArray[np.float64]
TOLERANCE = {mx.float32: 1e-5, mx.float16: 2e-2, mx.bfloat16: 1e-1}


class Sublayer:
    """One token mixing sublayer and a sequence, in float64."""

    def __init__(self, batch: int, heads: int, head_dims: int, context: int, *, normalise: bool = True) -> None:
        generator = np.random.default_rng(0)

        def draw(*shape: int) -> Numbers:
            return generator.normal(size=shape).astype(np.float16).astype(np.float64)

        self.x = draw(batch, context, heads * head_dims)
        self.weight, self.bias = np.tril(draw(heads, context, context)) / 4, draw(heads, context)
        self.norm = (draw(heads * head_dims), draw(heads * head_dims)) if normalise else None

    def rows(self) -> Numbers:
        """What is mixed: the sequence, normalised if it is to be."""
        if self.norm is None:
            return self.x
        centred = self.x - self.x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * self.norm[0] + self.norm[1]

    def mixed(self, matrix: Numbers) -> Numbers:
        """The product of one matrix per head with the rows, heads side by side."""
        batch, context, dims = self.x.shape
        heads = matrix.shape[0]
        split = self.rows().reshape(batch, context, heads, dims // heads)
        return np.einsum("hts,bshd->bthd", matrix, split).reshape(batch, -1, dims)

    def spread_bias(self) -> Numbers:
        """The bias of each position and feature, ``(L, D)``."""
        return np.repeat(self.bias.T, self.x.shape[-1] // self.bias.shape[0], axis=1)

    def ahead(self, start: int) -> Numbers:
        """What positions before `start` and the bias contribute to those of its block, ``(B, 32, D)``."""
        _, context, dims = self.x.shape
        stop = min(start + BLOCK, context)
        matrix = np.zeros((self.weight.shape[0], BLOCK, context))
        matrix[:, : stop - start, :start] = self.weight[:, start:stop, :start]
        bias = np.zeros((BLOCK, dims))
        bias[: stop - start] = self.spread_bias()[start:stop]
        return self.mixed(matrix) + bias

    def within(self, start: int) -> Numbers:
        """The weights among the positions of one block, ``(H, 32, 32)``."""
        stop = min(start + BLOCK, self.x.shape[1])
        square = np.zeros((self.weight.shape[0], BLOCK, BLOCK))
        square[:, : stop - start, : stop - start] = self.weight[:, start:stop, start:stop]
        return square


def decode(layer: Sublayer, dtype: mx.Dtype, *, residual: bool) -> tuple[Numbers, int]:
    """Results of every position, from one compiled step; and how often that was traced."""
    traces = 0
    norm = None if layer.norm is None else (to_mlx(layer.norm[0], dtype), to_mlx(layer.norm[1], dtype))

    @mx.compile
    def step(
        x: mx.array, ahead: mx.array, recent: mx.array, within: mx.array, position: mx.array
    ) -> tuple[mx.array, mx.array]:
        nonlocal traces
        traces += 1
        block = {"ahead": ahead, "recent": recent, "within": within, "position": position}
        return mix_step(x, **block, norm=norm, residual=residual)

    batch, context, dims = layer.x.shape
    recent, results = mx.zeros((batch, BLOCK, dims), dtype), []
    for position in range(context):
        if position % BLOCK == 0:
            # Rows of the last block are still there, as in a cache that is not cleared.
            block = to_mlx(layer.ahead(position), dtype), to_mlx(layer.within(position), dtype)
        now = mx.array([position], mx.int32)
        y, recent = step(to_mlx(layer.x[:, position], dtype), block[0], recent, block[1], now)
        results.append(np.array(y.astype(mx.float32)))
    return np.stack(results, axis=1).astype(np.float64), traces


def to_mlx(array: Numbers, dtype: mx.Dtype) -> mx.array:
    return mx.array(array.astype(np.float32)).astype(dtype)


@pytest.mark.parametrize(
    ("heads", "head_dims", "context", "dtype"),
    [
        (1, 24, 70, mx.float32),
        (3, 7, 45, mx.float32),
        (2, 8, 64, mx.float32),
        (1, 4, 5, mx.float32),
        (2, 5, 37, mx.float16),
        (2, 5, 37, mx.bfloat16),
    ],
)
def test_decoding_equals_the_whole_sequence(heads: int, head_dims: int, context: int, dtype: mx.Dtype) -> None:
    layer = Sublayer(2, heads, head_dims, context)
    want = layer.x + layer.mixed(layer.weight) + layer.spread_bias()
    got, _ = decode(layer, dtype, residual=True)
    assert np.abs(got - want).max() <= TOLERANCE[dtype] * np.abs(want).max()


def test_headed_forms_need_neither_norm_nor_residual() -> None:
    layer = Sublayer(2, 3, 7, 45, normalise=False)
    got, _ = decode(layer, mx.float32, residual=False)
    np.testing.assert_allclose(got, layer.mixed(layer.weight) + layer.spread_bias(), atol=1e-5)


def test_one_trace_serves_every_position() -> None:
    """The position is an array: a Python integer would make every token a new graph."""
    _, traces = decode(Sublayer(1, 1, 4, 70), mx.float32, residual=True)
    assert traces == 1
