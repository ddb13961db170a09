"""The public product is differentiable whichever form computes it."""

from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mlx_mixer.kernels import masked_matmul as module
from mlx_mixer.kernels.choose import Chooser
from mlx_mixer.kernels.masked_matmul import FEWEST_ROWS, masked_matmul
from mlx_mixer.kernels.twins import Form, Shape, TwinKernel
from tests.metal.graph import metal_chooser

Product = Callable[[mx.array, mx.array], mx.array]


def dense(weight: mx.array, rows: mx.array) -> mx.array:
    return mx.tril(weight) @ rows


def gradients(product: Product) -> Callable[[mx.array, mx.array], tuple[mx.array, mx.array]]:
    return mx.grad(lambda weight, rows: (product(weight, rows) ** 2).sum(), argnums=(0, 1))


def arguments() -> tuple[mx.array, mx.array]:
    generator = np.random.default_rng(0)
    weight = generator.normal(size=(FEWEST_ROWS, FEWEST_ROWS)) / 16
    return mx.array(weight.astype(np.float32)), mx.array(generator.normal(size=(2, FEWEST_ROWS, 8)).astype(np.float32))


@pytest.mark.usefixtures("metal")
def test_gradients_through_the_kernels_equal_those_of_a_dense_product(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chooser = metal_chooser(tmp_path)
    used = []

    def note_and_choose(twins: TwinKernel, shape: Shape, dtypes: tuple[mx.Dtype, ...]) -> Form:
        used.append(twins.name)
        return Chooser.choose(chooser, twins, shape, dtypes)

    monkeypatch.setattr(chooser, "choose", note_and_choose)
    monkeypatch.setattr(module, "default_chooser", lambda: chooser)
    for got, want in zip(gradients(masked_matmul)(*arguments()), gradients(dense)(*arguments()), strict=True):
        np.testing.assert_allclose(np.array(got), np.array(want), rtol=1e-4, atol=1e-4)
    assert sorted(used) == ["masked_matmul", "masked_matmul_rows_gradient", "masked_matmul_weight_gradient"]
