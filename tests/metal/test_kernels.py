"""Each Metal kernel equals its plain twin, whatever lies where it must not look."""

import mlx.core as mx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_mixer.kernels.recent_rows import BLOCK
from tests.metal.cases import DTYPES, PRODUCT_SHAPES, STEP_SHAPES, check_outer, check_product, check_step
from tests.metal.stand_in import StandIn


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", STEP_SHAPES, ids=str)
@pytest.mark.usefixtures("metal")
def test_a_step_reads_the_past_and_never_the_future(shape: tuple[int, int, int], dtype: mx.Dtype) -> None:
    for position in (0, 1, 17, 31, 32, 4000):
        check_step(shape, dtype, position)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.usefixtures("metal")
def test_a_projected_step_adds_neither_norm_nor_residual(dtype: mx.Dtype) -> None:
    """Headed forms project before and after, so the kernel must leave both out."""
    check_step((2, 2, 20), dtype, 37, normalise=False, residual=False)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", PRODUCT_SHAPES, ids=str)
@pytest.mark.usefixtures("metal")
def test_the_product_and_its_gradients_see_the_triangle_only(
    shape: tuple[int, int, int, int, int, int], dtype: mx.Dtype
) -> None:
    check_product(shape, dtype)
    check_outer(shape, dtype)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batch=st.integers(1, 2),
    heads=st.integers(1, 3),
    head_dims=st.integers(8, 30),
    position=st.integers(0, 1 << 20),
)
@pytest.mark.usefixtures("metal")
def test_a_step_is_right_at_any_shape(batch: int, heads: int, head_dims: int, position: int) -> None:
    """Shapes are data to the kernel, so this needs no further compilation."""
    check_step((batch, heads, head_dims), mx.float32, position)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batch=st.integers(1, 2),
    heads=st.integers(1, 2),
    height=st.integers(3, 70),
    width=st.integers(3, 70),
    dims=st.integers(3, 40),
    start=st.integers(0, 70),
)
@pytest.mark.usefixtures("metal")
def test_a_product_is_right_at_any_shape(
    batch: int, heads: int, height: int, width: int, dims: int, start: int
) -> None:
    shape = (batch, heads, height, width, dims, start)
    check_product(shape, mx.float32)
    check_outer(shape, mx.float32)


def test_one_compilation_serves_every_position(emulator: StandIn) -> None:
    """The position is data: a text per token would compile a kernel per token."""
    for position in (0, 40):
        check_step((2, 2, 20), mx.float32, position)
    assert len({work.kernel for work in emulator.launches}) == 1


def test_a_step_reads_each_recent_row_once(emulator: StandIn) -> None:
    position, dims = 44, 40
    check_step((2, 2, 20), mx.float32, position)
    (work,) = emulator.launches
    assert work.read["recent"] == 2 * (position % BLOCK) * dims * 4
    assert work.read["ahead"] == 2 * dims * 4


def test_the_product_skips_tiles_above_the_diagonal(emulator: StandIn) -> None:
    check_product((1, 1, 128, 128, 32, 0), mx.float32)
    forward, transposed = emulator.launches
    # Four rows of tiles with one to four tiles of 32 x 32 x 32, each 4 x 4 x 4 fragments.
    assert forward.multiplications == transposed.multiplications == (1 + 2 + 3 + 4) * 4**3
    # Each element of the triangle once, for the one column of tiles.
    assert forward.read["weight"] == transposed.read["weight"] == 128 * 129 // 2 * 4
