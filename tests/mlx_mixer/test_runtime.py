"""What happens before MLX is imported, seen from fresh processes."""

import os
import subprocess
import sys

import pytest

on_linux_x86 = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64", reason="only MLX's Linux x86-64 wheel has the slow BLAS"
)


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return done.stdout.strip()


STATUS = "import mlx_mixer; print(mlx_mixer.runtime.prepare().name)"
# Which library answers MLX's matmul: the first in the process that defines the symbol globally.
OWNER = """
import ctypes, mlx_mixer, mlx.core as mx
class Info(ctypes.Structure):
    _fields_ = [("file", ctypes.c_char_p), *((name, ctypes.c_void_p) for name in ("base", "name", "at"))]
info = Info()
symbol = ctypes.cast(ctypes.CDLL(None).cblas_sgemm, ctypes.c_void_p)
ctypes.CDLL(None).dladdr(symbol, ctypes.byref(info))
mx.eval(mx.ones((64, 64)) @ mx.ones((64, 64)))
print(info.file.decode())
"""


@on_linux_x86
def test_mkl_answers_the_matmuls_of_mlx() -> None:
    assert python(STATUS) == "mkl"
    assert "libmkl_rt" in python(OWNER)


@on_linux_x86
def test_the_blas_as_shipped_can_be_asked_for() -> None:
    assert python(STATUS, MLX_MIXER_BLAS="reference") == "reference"


@on_linux_x86
def test_importing_mlx_first_is_noticed() -> None:
    assert python("import mlx.core, mlx_mixer; print(mlx_mixer.runtime.prepare().reason)").startswith(
        "mlx was imported"
    )


@on_linux_x86
def test_idle_threads_of_the_blas_do_not_spin() -> None:
    """They would take the cores from what the program does between two products."""
    code = """
import mlx_mixer, time, mlx.core as mx
matrix = mx.ones((512, 512))
for _ in range(5):
    mx.eval(matrix @ matrix)
    before = time.process_time()
    time.sleep(0.1)
    print(time.process_time() - before)
"""
    # Where other processes want the cores too, spinning threads get a small part of them, but they take it.
    quiet, spinning = (sum(map(float, python(code, **settings).split())) for settings in ({}, {"KMP_BLOCKTIME": "200"}))
    assert quiet < spinning / 4


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = ("mlx", "mlx_lm", "transformers", "textual", "numpy", "click")
    code = f"import sys, mlx_mixer; print([name for name in {heavy} if name in sys.modules])"
    assert python(code) == "[]"


def test_every_public_name_is_there() -> None:
    code = "import mlx_mixer; print(all(getattr(mlx_mixer, name) for name in mlx_mixer.__all__))"
    assert python(code) == "True"


def test_an_unknown_name_is_an_attribute_error() -> None:
    import mlx_mixer

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        mlx_mixer.nonsense  # noqa: B018  # reading it is the test


@on_linux_x86
def test_graphs_are_ordered_breadth_first_unless_told_otherwise() -> None:
    """MLX reads the variable once, at its first evaluation."""
    code = "import os, mlx_mixer; print(os.environ['MLX_BFS_MAX_WIDTH'])"
    assert int(python(code)) > 1000
    assert python(code, MLX_BFS_MAX_WIDTH="7") == "7"


@on_linux_x86
def test_products_have_as_many_threads_as_they_are_given_and_then_as_many_as_before() -> None:
    code = """
import ctypes, mlx_mixer
from mlx_mixer.runtime import blas_threads
threads = ctypes.CDLL(None).MKL_Get_Max_Threads  # MKL's symbols are global
before = threads()
with blas_threads(1):
    within = threads()
print(before, within, threads())
"""
    assert python(code, MKL_NUM_THREADS="2", MKL_DYNAMIC="FALSE") == "2 1 2"
    assert (
        python("import mlx_mixer.runtime as r\nwith r.blas_threads(1): print('done')", MLX_MIXER_BLAS="reference")
        == "done"
    )
