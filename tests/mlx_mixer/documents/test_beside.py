"""One thread beside the others, for as long as the process lasts."""

import subprocess
import sys
import threading
from concurrent.futures import wait

import pytest

from mlx_mixer.documents.beside import Beside

ENDS_AT_ONCE = """
import threading
from mlx_mixer.documents.beside import Beside
beside = Beside("test")
print(beside.submit(lambda: 7).result())
beside.submit(threading.Event().wait)
"""


def test_everything_runs_in_turn_in_one_thread_of_that_name() -> None:
    beside, ran, gate = Beside("test"), list[int](), threading.Event()
    first = beside.submit(gate.wait)
    futures = [beside.submit(lambda number=number: ran.append(number)) for number in range(5)]  # type: ignore[misc]
    assert not ran
    gate.set()
    assert first.result(timeout=60)
    wait(futures, timeout=60)
    assert ran == [0, 1, 2, 3, 4]
    threads = {beside.submit(threading.current_thread).result(timeout=60) for _ in range(3)}
    assert [thread.name for thread in threads] == ["test"]
    assert threads != {threading.current_thread()}


def test_an_error_is_raised_where_the_result_is_wanted_and_the_next_runs() -> None:
    beside = Beside("test")
    failed, fine = beside.submit(lambda: 1 // 0), beside.submit(lambda: 2)
    with pytest.raises(ZeroDivisionError):
        failed.result(timeout=60)
    assert fine.result(timeout=60) == 2


def test_a_process_ends_without_waiting_for_it() -> None:
    done = subprocess.run([sys.executable, "-c", ENDS_AT_ONCE], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("7\n", "")
