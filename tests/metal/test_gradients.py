"""The public product is differentiable whichever form computes it."""

from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mlx_mixer.kernels import masked_matmul as module
from mlx_mixer.kernels.masked_matmul import FEWEST_ROWS, masked_matmul
from tests.metal.graph import metal_chooser
from tests.metal.stand_in import StandIn


def dense(weight: mx.array, rows: mx.array) -> mx.array:
    return mx.tril(weight) @ rows


def test_gradients_through_the_kernels_equal_those_of_a_dense_product(
    emulator: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chooser = metal_chooser(tmp_path)
    monkeypatch.setattr(module, "default_chooser", lambda: chooser)
    generator = np.random.default_rng(0)
    weight = mx.array(generator.normal(size=(FEWEST_ROWS, FEWEST_ROWS)).astype(np.float32)) / 16
    rows = mx.array(generator.normal(size=(2, FEWEST_ROWS, 8)).astype(np.float32))

    def gradients(product: object) -> tuple[mx.array, mx.array]:
        return mx.grad(lambda w, x: (product(w, x) ** 2).sum(), argnums=(0, 1))(weight, rows)  # type: ignore[operator]

    for got, want in zip(gradients(masked_matmul), gradients(dense), strict=True):
        np.testing.assert_allclose(np.array(got), np.array(want), rtol=1e-4, atol=1e-4)
    kernels = [work.kernel for work in emulator.launches]
    assert sum("masked_product" in kernel for kernel in kernels) == 2
    assert sum("masked_outer" in kernel for kernel in kernels) == 1
