"""How numbers are stored: float32, float16 and bfloat16 as bytes, and whether all of them are finite."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from convert.sources.weight_file import FLOAT_BYTES, Float32Array, float32_from_bytes
from mlx_mixer.errors import UsageError

Dtype = Literal["float32", "float16", "bfloat16"]
# Named as in safetensors.
STORED_NAMES: dict[Dtype, str] = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
# Without the sign, bit patterns from here on are infinite or not a number.
_FIRST_NOT_FINITE = {"F16": 0x7C00, "BF16": 0x7F80}
_WITHOUT_SIGN = np.uint16(0x7FFF)


def check_dtype(dtype: str) -> Dtype:
    """The dtype that a user named.

    Raises:
        UsageError: If it is none that weights are stored in.
    """
    for known in STORED_NAMES:
        if dtype == known:
            return known
    raise UsageError(f"dtype is {dtype!r}; it must be one of {', '.join(STORED_NAMES)}")


def are_finite(raw: "memoryview | bytes", dtype: str) -> bool:
    """Whether none of the stored floats is infinite or not a number.

    Args:
        raw: Little-endian numbers.
        dtype: Their type, one of `convert.sources.weight_file.FLOAT_BYTES`.
    """
    if dtype in _FIRST_NOT_FINITE:
        patterns = np.frombuffer(raw, "<u2") & _WITHOUT_SIGN
        return patterns.size == 0 or int(patterns.max()) < _FIRST_NOT_FINITE[dtype]
    return floats_are_finite(np.frombuffer(raw, f"<f{FLOAT_BYTES[dtype]}"))


def floats_are_finite(array: npt.NDArray[np.floating[Any]]) -> bool:
    """Whether none is infinite or not a number, without making an array of answers."""
    with np.errstate(over="ignore", invalid="ignore"):
        # One number that is not finite makes the sum so, but so may many that are.
        return bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())


def to_float32(raw: "memoryview | bytes", dtype: str) -> Float32Array:
    """Stored floats as a flat float32 array, a view where they are float32 already."""
    if dtype == "F32":
        return np.frombuffer(raw, "<f4")
    return float32_from_bytes(raw, dtype)


def from_float32(array: Float32Array, dtype: str) -> npt.NDArray[Any]:
    """Round to the nearest number of a stored type ("F32", "F16" or "BF16"), ties to even.

    Returns:
        An array with those bytes; what is too large becomes infinite.
    """
    if dtype == "F32":
        return array
    if dtype == "F16":
        with np.errstate(over="ignore", under="ignore"):
            return array.astype("<f2")
    bits = np.ascontiguousarray(array).view(np.uint32)
    # Half of the last place that is kept, less one where that place is even. Finite values do not carry into the sign.
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype("<u2")


def as_bytes(array: npt.NDArray[Any]) -> memoryview:
    """The bytes of an array."""
    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))  # type: ignore[arg-type]  # is a buffer
