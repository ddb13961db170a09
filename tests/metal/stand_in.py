"""A stand-in for `mx.fast.metal_kernel` that runs kernels under the emulator."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import numpy as np

from tests.metal.assemble import assemble
from tests.metal.compiler import Compiler, KernelError
from tests.metal.emulator import Array, Emulator, Work
from tests.metal.front_end import complaints

_NUMPY = {
    mx.float32: np.float32,
    mx.float16: np.float16,
    # NumPy has no bfloat16; the bits travel as they are.
    mx.bfloat16: np.uint16,
    mx.int32: np.int32,
}


class StandIn:
    """Makes and runs kernels as `mx.fast.metal_kernel` does, eagerly and checked.

    Attributes:
        launches: What each launch did, in order.
    """

    def __init__(self, compiler: Compiler, make: Callable[..., Any] = mx.fast.metal_kernel) -> None:
        self.launches: list[Work] = []
        self._compiler = compiler
        self._make = make
        self._emulators: dict[Any, Emulator] = {}

    def metal_kernel(self, *, input_names: list[str], output_names: list[str], **rest: Any) -> Callable[..., Any]:
        """The same arguments as `mx.fast.metal_kernel`."""
        kernel = self._make(input_names=input_names, output_names=output_names, **rest)

        def call(*, inputs: Sequence[mx.array], **launch: Any) -> list[mx.array]:
            mx.eval(inputs)
            return self._run(
                self._emulator(kernel, inputs, launch),
                dict(zip(input_names, inputs, strict=True)),
                output_names,
                launch,
            )

        return call

    def _emulator(self, kernel: Callable[..., Any], inputs: Sequence[mx.array], launch: dict[str, Any]) -> Emulator:
        """One per text: it depends on the template and on dtype, number of axes and tininess of the inputs."""
        kinds = tuple((array.dtype, array.ndim, array.size < 8) for array in inputs)
        key = (id(kernel), kinds, tuple(launch["template"]), tuple(launch["output_dtypes"]))
        if key not in self._emulators:
            assembled = assemble(kernel, inputs, **launch)
            if found := complaints(assembled.source):
                raise KernelError(f"{assembled.name}: Apple's compiler would refuse this:\n" + "\n".join(found))
            self._emulators[key] = Emulator(assembled, self._compiler)
        return self._emulators[key]

    def _run(
        self, emulator: Emulator, inputs: dict[str, mx.array], output_names: list[str], launch: dict[str, Any]
    ) -> list[mx.array]:
        arrays = {name: _to_numpy(array) for name, array in inputs.items()}
        shapes = {f"{name}_shape": np.array(array.shape, np.int32) for name, array in inputs.items()}
        dtypes = launch["output_dtypes"]
        outputs = {
            name: np.zeros(shape, _NUMPY[dtype])
            for name, shape, dtype in zip(output_names, launch["output_shapes"], dtypes, strict=True)
        }
        self.launches.append(emulator.run(arrays | shapes, outputs, launch["grid"], launch["threadgroup"]))
        return [_to_mlx(array, dtype) for array, dtype in zip(outputs.values(), dtypes, strict=True)]


@contextmanager
def emulated(compiler: Compiler) -> Iterator[StandIn]:
    """Inside, `mx.fast.metal_kernel` makes emulated kernels; compiling is off, since the emulator cannot be traced."""
    stand_in = StandIn(compiler)
    real = mx.fast.metal_kernel
    mx.fast.metal_kernel = stand_in.metal_kernel
    mx.disable_compile()
    try:
        yield stand_in
    finally:
        mx.enable_compile()
        mx.fast.metal_kernel = real


def _to_numpy(array: mx.array) -> Array:
    return np.array(array.view(mx.uint16) if array.dtype == mx.bfloat16 else array)


def _to_mlx(array: Array, dtype: mx.Dtype) -> mx.array:
    return mx.array(array).view(mx.bfloat16) if dtype == mx.bfloat16 else mx.array(array)
