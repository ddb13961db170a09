"""The emulator itself: what it computes, what it finds, and that it says where."""

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from tests.metal.compiler import KernelError
from tests.metal.stand_in import StandIn

Launch = Callable[..., np.ndarray[Any, np.dtype[np.float32]]]


@pytest.fixture
def launch(emulator: StandIn) -> Launch:
    """Run a body over 64 threads or more, with `values` 0, 1, 2, ... as its input and `out` as its output."""

    def run(body: str, *, size: int = 64, grid: tuple[int, int, int] = (64, 1, 1), group: int = 64) -> Any:
        kernel = emulator.metal_kernel(name="sample", input_names=["values"], output_names=["out"], source=body)
        launch = {"grid": grid, "threadgroup": (group, 1, 1), "template": [("T", mx.float32)]}
        (out,) = kernel(inputs=[mx.arange(64.0)], output_shapes=[(size,)], output_dtypes=[mx.float32], **launch)
        return np.array(out)

    return run


SHARED = """
    threadgroup float shared[64];
    const int i = thread_index_in_threadgroup;
    shared[i] = values[i];
    BARRIER
    out[i] = shared[63 - i];
"""


def test_threads_meet_at_a_barrier(launch: Launch, emulator: StandIn) -> None:
    out = launch(SHARED.replace("BARRIER", "threadgroup_barrier(mem_flags::mem_threadgroup);"))
    assert out.tolist() == list(range(63, -1, -1))
    (work,) = emulator.launches
    assert (work.barriers, work.threadgroup_bytes) == (1, 256)
    assert (work.read["values"], work.written["out"]) == (256, 256)


def test_a_race_is_told_with_its_line(launch: Launch) -> None:
    with pytest.raises(
        KernelError, match=r"(?s)\[race\].*shared\[\d+\] by threads \d+ and \d+.*line \d+: (out|shared)\[i\] ="
    ):
        launch(SHARED.replace("BARRIER", ""))


def test_threadgroups_may_not_share_an_output(launch: Launch) -> None:
    """Nothing orders two threadgroups of one dispatch, however many barriers each has."""
    with pytest.raises(KernelError, match=r"\[race\] write then write on out\[0\].*different threadgroups"):
        launch("out[thread_index_in_threadgroup] = 1.0f;", size=32, group=32)


@pytest.mark.parametrize(
    ("body", "finding"),
    [
        (
            "out[thread_position_in_grid.x] = values[thread_position_in_grid.x + 1];",
            r"\[out of bounds\] read of values\[64\]",
        ),
        ("out[thread_position_in_grid.x - 1] = 0.0f;", r"\[out of bounds\] write of out\[4294967295\]"),
        ("out[int(thread_position_in_grid.x) - 1] = 0.0f;", r"\[out of bounds\] write of out\[-1\]"),
        (
            "if (thread_position_in_grid.x != 5) out[thread_position_in_grid.x] = 0.0f;",
            r"\[unwritten\] 1 of 64 .*\[5\]",
        ),
        ("out[thread_position_in_grid.x] = out[thread_position_in_grid.x] + 1.0f;", r"\[uninitialised\] out\[0\]"),
        ("    threadgroup float s[64];\n    out[thread_position_in_grid.x] = s[1];", r"\[uninitialised\] s\[1\]"),
        ("int d = thread_position_in_grid.x; out[d] = float(7 / d);", r"\[crash\]"),
        ("out[thread_position_in_grid.x] = simd_shuffle_xor(1.0f, 32);", r"\[divergence\].*lane 32"),
        (
            "int i = thread_index_in_threadgroup; if (i < 7) threadgroup_barrier(mem_flags::mem_none); out[i] = 0.0f;",
            r"\[divergence\] thread 0 waits in threadgroup_barrier .* thread 7 is at the end",
        ),
    ],
)
def test_faults_are_found(launch: Launch, body: str, finding: str) -> None:
    with pytest.raises(KernelError, match=finding):
        launch(body)


def test_the_last_threadgroup_may_be_smaller(launch: Launch) -> None:
    """MLX dispatches threads, so a grid need not be a multiple of the threadgroup."""
    out = launch(
        "out[thread_position_in_grid.x] = simd_sum(1.0f) + 100.0f * float(threads_per_threadgroup.x);",
        size=70,
        grid=(70, 1, 1),
        group=64,
    )
    assert out.tolist() == [6432.0] * 64 + [606.0] * 6


def test_collectives_see_every_lane(launch: Launch) -> None:
    out = launch(
        """
        const int i = thread_position_in_grid.x;
        out[i] = simd_sum(values[i]) + simd_max(values[i]);
        out[i] += simd_broadcast(values[i], 3) + simd_shuffle_xor(values[i], 1);
        """
    )
    lanes = np.arange(64.0).reshape(2, 32)
    want = lanes.sum(1) + lanes.max(1) + lanes[:, 3]
    assert np.array_equal(out.reshape(2, 32), want[:, None] + lanes.reshape(2, 16, 2)[..., ::-1].reshape(2, 32))


def test_matrices_multiply(launch: Launch) -> None:
    """A fragment of 8 x 8 times its transpose, loaded with a pitch of 8."""
    out = launch(
        """
        simdgroup_matrix<float, 8, 8> a, b;
        simdgroup_matrix<float, 8, 8> sum = make_filled_simdgroup_matrix<float, 8, 8>(1.0f);
        simdgroup_load(a, values, 8);
        simdgroup_load(b, values, 8, ulong2(0), true);
        simdgroup_multiply_accumulate(sum, a, b, sum);
        simdgroup_store(sum, out, 8);
        """,
        grid=(32, 1, 1),
        group=32,
    )
    matrix = np.arange(64.0).reshape(8, 8)
    assert np.array_equal(out.reshape(8, 8), matrix @ matrix.T + 1)


def test_a_result_that_depends_on_thread_order_is_refused(launch: Launch) -> None:
    """No single order shows that which SIMD-group comes first decides the answer."""
    with pytest.raises(KernelError):
        launch("out[thread_position_in_grid.x % 32] = float(thread_position_in_grid.x);", size=32)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("threadgroup float s[4];\n    const device float* p = s; out[0] = p[0];", "cannot initialize"),
        ("const float* p = values; out[0] = p[0];", "cannot initialize"),
        ("out[0] = float(min(thread_position_in_grid.x, 3));", "ambiguous"),
        ("double d = 1; out[0] = float(d);", "no_double"),
        ("auto f = [&](float v) { return v; }; out[0] = f(1.0f);", "Metal has no"),
        ("out[0] = 1.0f; // \u2265", "not ASCII"),
        (
            "int grid_thread_index_in_threadgroup = 0; out[grid_thread_index_in_threadgroup] = 0.0f;",
            "MLX adds a parameter",
        ),
    ],
)
def test_the_front_end_refuses_what_apple_would(launch: Launch, body: str, complaint: str) -> None:
    with pytest.raises(KernelError, match=f"Apple's compiler would refuse this(.|\n)*{complaint}"):
        launch(body, size=1, grid=(1, 1, 1), group=1)
