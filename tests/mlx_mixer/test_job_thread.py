import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import wait

import pytest

from mlx_mixer.job_thread import JobThread


@pytest.fixture
def jobs() -> Iterator[JobThread]:
    thread = JobThread("test")
    thread.start()
    yield thread
    assert thread.stop(30)


def test_the_most_urgent_job_runs_first(jobs: JobThread) -> None:
    gate, order = threading.Event(), list[str]()
    jobs.submit(gate.wait)
    late = jobs.submit(lambda: order.append("late"), urgency=2)
    jobs.submit(lambda: order.append("soon"), urgency=1)
    jobs.submit(lambda: order.append("soon after"), urgency=1)
    gate.set()
    late.result(30)
    assert order == ["soon", "soon after", "late"]


def test_all_jobs_run_on_one_thread_that_is_not_the_callers(jobs: JobThread) -> None:
    threads = {jobs.submit(threading.get_ident).result(30) for _ in range(5)}
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_an_exception_reaches_the_one_who_asked_and_the_thread_lives_on(jobs: JobThread) -> None:
    with pytest.raises(ZeroDivisionError):
        jobs.submit(lambda: 1 // 0).result(30)
    assert jobs.submit(lambda: "alive").result(30) == "alive"


def test_a_long_job_lets_urgent_ones_through_between_its_steps(jobs: JobThread) -> None:
    gate, order = threading.Event(), list[str]()

    def long_job() -> None:
        gate.wait()
        order.append("step 1")
        jobs.run_waiting(max_urgency=0)
        order.append("step 2")

    long = jobs.submit(long_job, urgency=1)
    patient = jobs.submit(lambda: order.append("patient"), urgency=1)
    jobs.submit(lambda: order.append("urgent"), urgency=0)
    gate.set()
    long.result(30)
    patient.result(30)
    assert order in (["step 1", "urgent", "step 2", "patient"], ["urgent", "step 1", "step 2", "patient"])


def test_stopping_cancels_what_waits_and_tells_when_a_job_does_not_end() -> None:
    jobs, gate, running = JobThread("test"), threading.Event(), threading.Event()
    jobs.start()

    def stubborn() -> None:
        running.set()
        gate.wait()

    jobs.submit(stubborn)
    running.wait(30)
    waiting = jobs.submit(lambda: "never")
    assert not jobs.stop(0.05)
    gate.set()
    assert jobs.stop(30)
    assert waiting.cancelled()


def test_a_thread_that_never_started_stops_at_once() -> None:
    assert JobThread("test").stop(0)


ENDS_AT_ONCE = """
import threading
from mlx_mixer.job_thread import JobThread
jobs = JobThread("test")
jobs.start()
print(jobs.submit(lambda: 7).result())
jobs.submit(threading.Event().wait)
"""


def test_jobs_of_one_urgency_run_in_turn_in_a_thread_of_that_name(jobs: JobThread) -> None:
    ran, gate = list[int](), threading.Event()
    first = jobs.submit(gate.wait)
    futures = [jobs.submit(lambda number=number: ran.append(number)) for number in range(5)]  # type: ignore[misc]
    assert not ran
    gate.set()
    assert first.result(timeout=60)
    wait(futures, timeout=60)
    assert ran == [0, 1, 2, 3, 4]
    threads = {jobs.submit(threading.current_thread).result(timeout=60) for _ in range(3)}
    assert [thread.name for thread in threads] == ["test"]
    assert threads != {threading.current_thread()}


def test_a_process_ends_without_waiting_for_it() -> None:
    done = subprocess.run([sys.executable, "-c", ENDS_AT_ONCE], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("7\n", "")
