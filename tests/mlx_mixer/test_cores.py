"""How many threads may compute."""

import os
import sys

import pytest

from mlx_mixer.cores import computing_threads, usable_cores


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux binds processes to cores")
def test_cores_are_those_that_the_process_is_bound_to() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("mkl", "omp", "expected"),
    [
        ("", "", 6),
        ("2", "", 2),
        ("", "3", 3),
        ("2", "3", 2),
        ("64", "", 6),
        ("0", "", 6),
        ("2,4", "", 6),
        ("-1", "", 6),
    ],
)
def test_the_usual_variables_lower_the_number_of_threads(
    monkeypatch: pytest.MonkeyPatch, mkl: str, omp: str, expected: int
) -> None:
    monkeypatch.setattr("mlx_mixer.cores.usable_cores", lambda: 6)
    monkeypatch.setenv("MKL_NUM_THREADS", mkl)
    monkeypatch.setenv("OMP_NUM_THREADS", omp)
    assert computing_threads() == expected
