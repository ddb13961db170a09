"""Run an assembled kernel on the CPU, with every check on."""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tests.metal.assemble import Assembled
from tests.metal.compiler import Compiler, KernelError, line_of, load
from tests.metal.translate import translate

# In which order the threads of a group take turns: ascending, descending, shuffled. All must give the same bits.
ORDERS = (0, 1, 7)
_REPORT_BYTES = 1 << 14

Array: TypeAlias = NDArray[np.generic]


class _Buffer(ctypes.Structure):
    # In step with `Buffer` in runtime/internal.h.
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
        ("read", ctypes.c_uint64),
        ("written", ctypes.c_uint64),
        ("element", ctypes.c_uint32),
        ("is_output", ctypes.c_uint32),
    )


@dataclass(frozen=True)
class Work:
    """What one launch did.

    Attributes:
        kernel: Name of the kernel's function.
        read: Bytes read of each buffer, by name; a byte read twice counts twice.
        written: Bytes written.
        barriers: Threadgroup barriers passed, over all threadgroups.
        collectives: SIMD-group operations.
        multiplications: 8 x 8 matrix products.
        threadgroup_bytes: Threadgroup memory of one threadgroup.
    """

    kernel: str
    read: Mapping[str, int]
    written: Mapping[str, int]
    barriers: int
    collectives: int
    multiplications: int
    threadgroup_bytes: int


class Emulator:
    """One kernel, compiled.

    Raises:
        KernelError: If its text does not compile.
    """

    def __init__(self, kernel: Assembled, compiler: Compiler) -> None:
        self.kernel = kernel
        program = translate(kernel)
        self.buffers = program.buffers
        self._library_path = compiler.kernel(program.text)
        self._entry = load(self._library_path).emulated_kernel
        self._launch = load(compiler.runtime).emulator_launch

    def run(
        self,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
        grid: tuple[int, int, int],
        threadgroup: tuple[int, int, int],
    ) -> Work:
        """Launch the kernel once per thread order; `outputs` are written over.

        Raises:
            KernelError: For anything found, with the line of the kernel where it is known.
        """
        results = []
        for order in ORDERS:
            work = self._run_once(inputs, outputs, (grid, threadgroup), order)
            results.append([array.tobytes() for array in outputs.values()])
        if any(result != results[0] for result in results):
            raise KernelError(f"{self.kernel.name}: the result depends on the order of the threads")
        return work

    def _run_once(
        self,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
        sizes: tuple[tuple[int, int, int], tuple[int, int, int]],
        order: int,
    ) -> Work:
        arrays = {name: np.ascontiguousarray(array) for name, array in inputs.items()} | dict(outputs)
        buffers = (_Buffer * len(self.buffers))(
            *(
                _Buffer(
                    arrays[name].ctypes.data,
                    arrays[name].nbytes,
                    name.encode(),
                    0,
                    0,
                    arrays[name].itemsize,
                    name in outputs,
                )
                for name in self.buffers
            )
        )
        findings = ctypes.create_string_buffer(_REPORT_BYTES)
        counters = (ctypes.c_uint64 * 4)()
        grid, threadgroup = ((ctypes.c_uint * 3)(*size) for size in sizes)
        arguments = (len(buffers), grid, threadgroup, order, findings, ctypes.c_uint64(_REPORT_BYTES), counters)
        self._launch(self._entry, buffers, *arguments)
        if findings.value:
            raise KernelError(f"{self.kernel.name}:\n{self._explain(findings.value.decode())}")
        return Work(
            self.kernel.name,
            {buffer.name.decode(): buffer.read for buffer in buffers},
            {buffer.name.decode(): buffer.written for buffer in buffers},
            *counters,
        )

    def _explain(self, findings: str) -> str:
        """Findings with the line of the kernel they are about."""
        return "\n".join(
            _explained(finding, self._library_path, self.kernel.source) for finding in findings.splitlines()
        )


def _explained(finding: str, library: Path, source: str) -> str:
    kind, offset, line, message = finding.split("|", 3)
    number = int(line) or (line_of(library, int(offset)) if int(offset) else 0)
    lines = source.splitlines()
    where = f"\n    line {number}: {lines[number - 1].strip()}" if 0 < number <= len(lines) else ""
    return f"  [{kind}] {message}{where}"
