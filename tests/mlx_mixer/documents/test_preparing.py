"""A second process prepares documents: it changes how long that takes, and nothing else."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlx_mixer.documents import preparing, preparing_process
from mlx_mixer.documents.child_process import ChildProcess
from mlx_mixer.documents.filebytes import content_hash
from mlx_mixer.documents.prepare import prepare_text
from mlx_mixer.documents.prepared import pack_prepared, unpack_prepared
from mlx_mixer.documents.preparing import Preparer
from mlx_mixer.documents.preparing_process import Job
from mlx_mixer.documents.reader_process import ReaderProcess
from mlx_mixer.documents.readers import reader_for
from mlx_mixer.documents.records import ContentData
from tests.mlx_mixer.documents.formats.written import pdf

SOURCES: list[tuple[bytes, bytes]] = [
    (b"a.md", b"# Bread\n\nMix flour and water.\n\n## Oven\n\nBake it hot, for long.\n"),
    (b"b.py", b'"""Module."""\n\n\ndef trim_cache(count):\n    """Forget."""\n    return count\n'),
    (b"c.txt", "Grüße aus dem caf\u00e9\n".encode("latin-1")),
    (b"d.txt", b"\x00\x01\x02binary\xff\xfe"),
    (b"e.js", b"function trimCache(count) {\n  return count;\n}\n"),
]


def job_of(name: bytes, data: bytes) -> Job:
    return Job(data, content_hash(data), reader_for(name))


def expected(name: bytes, data: bytes) -> ContentData | str:
    return prepare_text(data, content_hash(data), reader_for(name))


def same(got: ContentData | str | None, want: ContentData | str) -> bool:
    if isinstance(got, ContentData) and isinstance(want, ContentData):
        got, want = (doc._replace(chunks=list(doc.chunks), blocks=list(doc.blocks)) for doc in (got, want))
    return got == want


@pytest.fixture
def preparer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Preparer]:
    """One that starts its process with the first file, on any machine."""
    monkeypatch.setattr(preparing, "_ALONE_BYTES", 0)
    monkeypatch.setattr(preparing, "usable_cores", lambda: 2)
    with ReaderProcess() as process, Preparer(process) as made:
        yield made


def busy_child(preparer: Preparer) -> int:
    """The process, after it has prepared something."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparer._helper, "take", lambda: None)
        list(preparer.in_order([(0, job_of(*SOURCES[0]))]))
    assert preparer.child_id is not None
    return preparer.child_id


@pytest.mark.parametrize(("name", "data"), SOURCES)
def test_what_is_packed_comes_out_as_it_was(name: bytes, data: bytes) -> None:
    prepared = expected(name, data)
    assert same(unpack_prepared(pack_prepared(prepared), content_hash(data), reader_for(name)), prepared)


def test_both_processes_prepare_the_same_in_order(preparer: Preparer) -> None:
    sources = [(name, data + b"\nrow %d\n" % number) for number in range(80) for name, data in SOURCES]
    sources.insert(7, (b"f.pdf", pdf(["a page about otters"])))
    done = list(preparer.in_order([(number, job_of(*source)) for number, source in enumerate(sources)]))
    assert [number for number, _ in done] == list(range(len(sources)))
    for (name, data), (_, job) in zip(sources, done, strict=True):
        assert job is not None
        if name == b"f.pdf":
            assert isinstance(job.result, ContentData)
            assert "otters" in job.result.chunks[0].body
        else:
            assert same(job.result, expected(name, data))
        assert job.data == b""


def test_the_second_process_does_its_part(preparer: Preparer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a first process that leaves everything to it, everything comes back all the same."""
    monkeypatch.setattr(preparer._helper, "take", lambda: None)
    jobs = [job_of(*source) for source in SOURCES]
    done = list(preparer.in_order((None, job) for job in jobs))
    assert all(same(job.result, expected(*source)) for (_, job), source in zip(done, SOURCES, strict=True) if job)
    assert preparer.child_id is not None


def test_little_work_starts_no_process() -> None:
    with ReaderProcess() as process, Preparer(process) as preparer:
        (done,) = preparer.in_order([("only", job_of(*SOURCES[0]))])
        assert done[1] is not None
        assert same(done[1].result, expected(*SOURCES[0]))
        assert not preparer._helper.is_started


def test_what_is_left_is_known_once_everything_is_read(preparer: Preparer) -> None:
    jobs = [job_of(*source) for source in SOURCES]
    sizes = [job.size for job in jobs]
    seen: list[int | None] = []

    def read() -> Iterator[tuple[None, Job]]:
        for job in jobs:
            seen.append(preparer.bytes_left)
            yield None, job

    left = [preparer.bytes_left for _ in preparer.in_order(read())]
    assert seen == [None] * len(jobs)
    known = [size for size in left if size is not None]
    assert known[-1] == 0
    assert known == [sum(sizes[done:]) for done in range(1, len(sizes) + 1)][-len(known) :]


def test_a_process_that_dies_costs_the_file_it_was_at(preparer: Preparer) -> None:
    child = busy_child(preparer)
    os.kill(child, signal.SIGSTOP)
    murder = threading.Timer(1.0, os.kill, (child, signal.SIGKILL))
    murder.start()
    sources = [(b"g.txt", b"text number %d\n" % number * 2000) for number in range(40)]
    done = [job for _, job in preparer.in_order((None, job_of(*source)) for source in sources)]
    murder.join()
    reasons = [job.result for job in done if job and isinstance(job.result, str)]
    assert len(reasons) <= 1
    assert all(reason == "crashed what prepares it (SIGKILL)" for reason in reasons)
    right = [same(job.result, expected(*source)) for job, source in zip(done, sources, strict=True) if job]
    assert sum(right) == len(sources) - len(reasons)


def test_a_process_that_hangs_costs_the_file_it_was_at(preparer: Preparer, monkeypatch: pytest.MonkeyPatch) -> None:
    child = busy_child(preparer)
    os.kill(child, signal.SIGSTOP)
    monkeypatch.setattr(preparing_process, "seconds_for", lambda _: 0.3)
    monkeypatch.setattr(preparer._helper, "take", lambda: None)
    (done,) = preparer.in_order([(0, job_of(*SOURCES[1]))])
    assert done[1] is not None
    assert done[1].result == "took too long to prepare"
    monkeypatch.setattr(preparing_process, "seconds_for", lambda _: 30.0)
    (done,) = preparer.in_order([(0, job_of(*SOURCES[1]))])
    assert done[1] is not None
    assert same(done[1].result, expected(*SOURCES[1]))
    assert preparer.child_id != child


def test_closing_starts_no_process(preparer: Preparer, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    class Counted(ChildProcess):
        def __init__(self, module: str, *arguments: object) -> None:
            started.append(module)
            super().__init__(module, *arguments)

    busy_child(preparer)
    monkeypatch.setattr(preparing_process, "ChildProcess", Counted)
    preparer._helper.close()
    assert started == []


PARENT = """
import os, sys, time
from mlx_mixer.documents import preparing
from mlx_mixer.documents.preparing import Preparer
from mlx_mixer.documents.reader_process import ReaderProcess
preparer = Preparer(ReaderProcess())
preparer._helper.start()
while preparer.child_id is None:
    time.sleep(0.01)
print(preparer.child_id, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for the process in /proc")
def test_it_ends_with_the_process_that_started_it() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while _is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
