"""Where the numbers of one parameter go: into a file as they are, rounded, or quantised row by row."""

from typing import Any, Protocol

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from convert.number_format import are_finite, as_bytes, floats_are_finite, from_float32, to_float32
from convert.sources.weight_file import FLOAT_BYTES, Float32Array
from convert.writer import TensorSpec, WeightWriter
from mlx_mixer.config_fields import Quantization
from mlx_mixer.errors import ConversionError
from mlx_mixer.foreign import quoted

_PACKED_BITS = 32


class Target(Protocol):
    """A parameter that is being written."""

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """The tensors it becomes."""
        ...

    @property
    def unit(self) -> int:
        """How many numbers must come together."""
        ...

    def put(self, writer: WeightWriter, offset: int, numbers: Float32Array) -> None:
        """Write finite numbers, which follow the first `offset` ones."""
        ...

    def put_stored(self, writer: WeightWriter, offset: int, raw: memoryview, dtype: str, source: str) -> None:
        """Check and write stored numbers of the tensor that is called `source`.

        Raises:
            ConversionError: If some are infinite or not a number.
        """
        ...


class PlainTarget:
    """Numbers of one type.

    Args:
        name: Of the parameter.
        shape: Its shape.
        dtype: "F32", "F16" or "BF16".
    """

    unit = 1

    def __init__(self, name: str, shape: tuple[int, ...], dtype: str) -> None:
        self._spec = TensorSpec(name, dtype, shape)
        self._width = FLOAT_BYTES[dtype]

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        return (self._spec,)

    def put(self, writer: WeightWriter, offset: int, numbers: Float32Array) -> None:
        rounded = from_float32(numbers, self._spec.dtype)
        if self._spec.dtype == "F16":
            check_fits_float16(self._spec.name, rounded)
        writer.write(self._spec.name, self._width * offset, as_bytes(rounded))

    def put_stored(self, writer: WeightWriter, offset: int, raw: memoryview, dtype: str, source: str) -> None:
        if dtype != self._spec.dtype:
            self.put(writer, offset, finite_numbers(raw, dtype, source))
            return
        if not are_finite(raw, dtype):
            raise not_finite(source)
        writer.write(self._spec.name, self._width * offset, raw)


class QuantisedTarget:
    """A matrix in few bits, with a scale and an offset for each group of a row, named as MLX names them.

    Args:
        name: Of the matrix, ending in ".weight".
        shape: Rows and columns; the columns divide into groups.
        dtype: Of scales and offsets.
        quantization: Bits and groups.
    """

    def __init__(self, name: str, shape: tuple[int, ...], dtype: str, quantization: Quantization) -> None:
        rows, self.unit = shape
        self._quantization = quantization
        self._width = FLOAT_BYTES[dtype]
        self._dtype = dtype
        self._packed_columns = self.unit * quantization.bits // _PACKED_BITS
        self._groups = self.unit // quantization.group_size
        module = name.removesuffix(".weight")
        self._specs = (
            TensorSpec(name, "U32", (rows, self._packed_columns)),
            TensorSpec(f"{module}.scales", dtype, (rows, self._groups)),
            TensorSpec(f"{module}.biases", dtype, (rows, self._groups)),
        )

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        return self._specs

    def put(self, writer: WeightWriter, offset: int, numbers: Float32Array) -> None:
        row = offset // self.unit
        packed, scales, offsets = mx.quantize(
            mx.array(numbers.reshape(-1, self.unit)),
            group_size=self._quantization.group_size,
            bits=self._quantization.bits,
            mode=self._quantization.mode,
        )
        names = [spec.name for spec in self._specs]
        writer.write(names[0], 4 * row * self._packed_columns, as_bytes(np.array(packed)))
        for name, values in zip(names[1:], (scales, offsets), strict=True):
            rounded = from_float32(np.array(values), self._dtype)
            if self._dtype == "F16":
                check_fits_float16(name, rounded)
            writer.write(name, self._width * row * self._groups, as_bytes(rounded))

    def put_stored(self, writer: WeightWriter, offset: int, raw: memoryview, dtype: str, source: str) -> None:
        self.put(writer, offset, finite_numbers(raw, dtype, source))


def finite_numbers(raw: memoryview, dtype: str, source: str) -> Float32Array:
    """Stored numbers as float32.

    Raises:
        ConversionError: If some are infinite, also because float32 is too narrow for them, or not a number.
    """
    numbers = to_float32(raw, dtype)
    if not floats_are_finite(numbers):
        raise not_finite(source)
    return numbers


def not_finite(source: str) -> ConversionError:
    """What is said of a tensor with infinite numbers."""
    return ConversionError(f"{quoted(source)} holds NaN or infinite values; the training run has diverged")


def check_fits_float16(name: str, rounded: npt.NDArray[Any]) -> None:
    """Raise `ConversionError` if finite numbers became infinite."""
    if not are_finite(as_bytes(rounded), "F16"):
        raise ConversionError(f"{name} holds numbers beyond float16's 65,504; give --dtype bfloat16 or float32")
