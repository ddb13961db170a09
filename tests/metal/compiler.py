"""Programs to shared libraries, each text once: results are kept in a folder by the hash of all that went in."""

import ctypes
import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

HERE = Path(__file__).parent
# Traps for private memory and arithmetic, which the sanitizer's hooks do not see.
TRAPS = "-fsanitize=bounds,shift,integer-divide-by-zero,signed-integer-overflow"
KERNEL_FLAGS = (
    # -O1 and no contraction of a * b + c: results must not depend on what this compiler makes of them.
    *("-std=c++20", "-O1", "-g1", "-fPIC", "-w", "-ffp-contract=off", "-fno-strict-aliasing"),
    # A local that nothing was assigned to holds a wild value, the same each time.
    *("-ftrivial-auto-var-init=pattern", "-fno-gnu-unique"),
    # Calls to hooks before each load and store; the library is linked without the sanitizer's runtime.
    *("-fsanitize=thread", TRAPS, "-fsanitize-undefined-trap-on-error"),
)
RUNTIME_FLAGS = ("-std=c++20", "-O2", "-fPIC", "-shared", "-U_FORTIFY_SOURCE")


class KernelError(AssertionError):
    """The emulator saw something that a GPU may or may not forgive."""


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler and the folder of what it made.

    Attributes:
        folder: Where libraries are kept.
        command: The compiler.
    """

    folder: Path
    command: str = "g++"

    @cached_property
    def runtime(self) -> Path:
        """The library with the scheduler and the memory checker."""
        sources = sorted((HERE / "runtime").iterdir())
        key = _digest(*(source.read_text() for source in sources), *RUNTIME_FLAGS)
        units = [str(source) for source in sources if source.suffix == ".cpp"]
        return self._make(f"runtime-{key}", lambda out: [[self.command, *RUNTIME_FLAGS, *units, "-ldl", "-o", out]])

    def kernel(self, program: str) -> Path:
        """The library of one program.

        Raises:
            KernelError: If the text does not compile.
        """
        headers = [header.read_text() for header in sorted((HERE / "shim").glob("*.h"))]
        flags = [*KERNEL_FLAGS, *_half_precision(), f"-I{HERE / 'shim'}", f"-I{HERE / 'shim' / 'includes'}"]
        key = _digest(program, *headers, *KERNEL_FLAGS, self.runtime.name)
        source = self.folder / f"kernel-{key}.{os.getpid()}.cpp"
        source.write_text(program)

        def commands(out: str) -> list[list[str]]:
            link = [self.command, "-shared", "-Wl,-Bsymbolic", f"{out}.o", str(self.runtime), "-o", out]
            return [[self.command, *flags, "-c", str(source), "-o", f"{out}.o"], link]

        try:
            return self._make(f"kernel-{key}", commands)
        finally:
            source.unlink()
            source.with_suffix(".so.o").unlink(missing_ok=True)

    def _make(self, name: str, commands: Callable[[str], list[list[str]]]) -> Path:
        target = self.folder / f"{name}.so"
        if target.exists():
            return target
        partial = self.folder / f"{name}.{os.getpid()}.so"
        for command in commands(str(partial)):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise KernelError("it does not compile:\n" + _first_errors(done.stderr))
        # Another process may be at the same; whoever comes last replaces equal by equal.
        return partial.replace(target)


def load(library: Path) -> ctypes.CDLL:
    """Load a library; kernels of one name do not see each other's symbols."""
    return ctypes.CDLL(str(library), mode=ctypes.RTLD_LOCAL)


def line_of(library: Path, offset: int) -> int:
    """Line of the kernel's text that an instruction came from; 0 if unknown."""
    command = ["addr2line", "--inlines", "--exe", str(library), hex(offset - 1)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return 0
    found = re.search(r"kernel\.metal:(\d+)", done.stdout)
    return int(found[1]) if found else 0


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _half_precision() -> list[str]:
    # Without it every conversion of a half is a library call.
    return ["-mf16c"] if platform.machine() == "x86_64" else []


def _first_errors(text: str) -> str:
    errors = [line for line in text.splitlines() if "error:" in line]
    return "\n".join(errors[:4]) or text[:2000]
