"""Rounding and checking of numbers, against MLX and numpy."""

import mlx.core as mx
import numpy as np
import pytest

from convert.number_format import are_finite, as_bytes, check_dtype, floats_are_finite, from_float32, to_float32
from mlx_mixer.errors import UsageError

EDGES = np.array(
    [0.0, -0.0, 1.0, -1.0, 65504.0, 65519.0, 65520.0, 6e-8, 2.9e-8, 1e-40, -1e-45, 3.38e38, 1.00390625, 1.01171875,
     -1.00390625, 0.1, 1 / 3],
    np.float32,
)  # fmt: skip
NUMBERS = np.concatenate(
    [EDGES, (np.random.default_rng(0).integers(0, 0x7F000000, 20_000, np.uint32)).view(np.float32)]
)


def test_bfloat16_is_rounded_as_mlx_does() -> None:
    want = np.array(mx.array(NUMBERS).astype(mx.bfloat16).view(mx.uint16))
    np.testing.assert_array_equal(from_float32(NUMBERS, "BF16"), want)


def test_float16_is_rounded_as_mlx_does() -> None:
    want = np.array(mx.array(NUMBERS).astype(mx.float16).view(mx.uint16))
    np.testing.assert_array_equal(from_float32(NUMBERS, "F16").view(np.uint16), want)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_what_was_rounded_is_read_back_unchanged(dtype: str) -> None:
    once = to_float32(as_bytes(from_float32(NUMBERS, dtype)), dtype)
    np.testing.assert_array_equal(to_float32(as_bytes(from_float32(once, dtype)), dtype), once)


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_every_half_precision_pattern_is_told_rightly(dtype: str) -> None:
    patterns = np.arange(1 << 16, dtype=np.uint16)
    is_finite = np.isfinite(to_float32(as_bytes(patterns), dtype))
    assert are_finite(as_bytes(patterns[is_finite]), dtype)
    assert not any(are_finite(as_bytes(pattern), dtype) for pattern in patterns[~is_finite])


def test_one_number_that_is_not_finite_is_found_anywhere() -> None:
    numbers = np.zeros(5000, np.float32)
    for place in (0, 2501, 4999):
        for bad in (np.nan, np.inf, -np.inf):
            numbers[place] = bad
            assert not floats_are_finite(numbers)
        numbers[place] = 0
    numbers[[1, 2]] = np.inf, -np.inf
    assert not floats_are_finite(numbers)


def test_large_numbers_whose_sum_overflows_are_finite() -> None:
    assert floats_are_finite(np.full(1000, 3e38, np.float32))
    assert are_finite(as_bytes(np.full(1000, 1e308)), "F64")
    assert are_finite(b"", "F32")


def test_other_types_are_refused() -> None:
    assert check_dtype("bfloat16") == "bfloat16"
    with pytest.raises(UsageError, match="dtype is 'int8'; it must be one of float32, float16, bfloat16"):
        check_dtype("int8")
