"""The real engine with a tiny real model: commands go in, events come out, and everything can be stopped."""

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mlx_mixer.embedding import load_embedder
from mlx_mixer.job_thread import JobThread
from mlx_mixer.sampling import SamplingSettings
from tests.tiny import tiny_model_folder
from tui.engine import COALESCE_SECONDS, EngineBusyError, EngineEmbedder, MlxEngine
from tui.events import EngineEvent, ModelFailed, ModelLoading, ModelReady, TextWritten, WritingFinished

# Its vocabulary lacks the token that ends a text, so that it writes until it is stopped.
NEVER_ENDS = {"vocab_size": 256, "eos_token_id": None}
ENDLESS = SamplingSettings(max_tokens=100_000, seed=1)


class Reports:
    """The events of an engine, in order."""

    def __init__(self) -> None:
        self._queue: queue.Queue[EngineEvent] = queue.Queue()
        self.threads: set[int] = set()

    def __call__(self, event: EngineEvent) -> None:
        self.threads.add(threading.get_ident())
        self._queue.put(event)

    def next(self) -> EngineEvent:
        return self._queue.get(timeout=120)

    def until(self, kind: type) -> list[EngineEvent]:
        events = [self.next()]
        while not isinstance(events[-1], kind):
            events.append(self.next())
        return events


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model_folder(tmp_path_factory.mktemp("models") / "tiny", **NEVER_ENDS)


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def engine(reports: Reports) -> Iterator[MlxEngine]:
    engine = MlxEngine()
    engine.start(reports)
    yield engine
    assert engine.stop(60)


def test_a_model_is_loaded_and_writes_on_one_thread_of_its_own(
    engine: MlxEngine, reports: Reports, folder: Path
) -> None:
    engine.load(folder)
    assert reports.next() == ModelLoading(folder)
    assert reports.next() == ModelReady(folder, 24)
    engine.write(1, "abc", SamplingSettings(max_tokens=40, seed=1))
    *texts, end = reports.until(WritingFinished)
    assert isinstance(end, WritingFinished)
    assert end.run == 1
    assert end.reason == "length"
    assert end.progress.prompt_tokens == 3
    assert end.progress.context_length == 24
    assert any(event.text for event in texts if isinstance(event, TextWritten))
    assert len(reports.threads) == 1
    assert threading.get_ident() not in reports.threads


def test_the_same_seed_writes_the_same_text(engine: MlxEngine, reports: Reports, folder: Path) -> None:
    def written(run: int) -> str:
        engine.write(run, "abc", SamplingSettings(max_tokens=12, seed=5))
        events = reports.until(WritingFinished)
        return "".join(event.text for event in events if isinstance(event, TextWritten))

    engine.load(folder)
    reports.until(ModelReady)
    assert written(1) == written(2)


def test_cancelling_ends_a_run_at_once_and_the_engine_goes_on(
    engine: MlxEngine, reports: Reports, folder: Path
) -> None:
    engine.load(folder)
    reports.until(ModelReady)
    engine.write(1, "abc", ENDLESS)
    reports.until(TextWritten)
    began = time.monotonic()
    engine.cancel()
    end = reports.until(WritingFinished)[-1]
    assert isinstance(end, WritingFinished)
    assert end.reason == "cancelled"
    assert time.monotonic() - began < 10, "the run would go on for minutes"
    engine.write(2, "abc", SamplingSettings(max_tokens=2))
    assert reports.until(WritingFinished)[-1].run == 2  # type: ignore[union-attr]  # the last one is a WritingFinished


def test_text_is_passed_on_in_slices_and_not_token_by_token(engine: MlxEngine, reports: Reports, folder: Path) -> None:
    engine.load(folder)
    reports.until(ModelReady)
    began = time.monotonic()
    engine.write(1, "abc", SamplingSettings(max_tokens=300, seed=1, temperature=1.5))
    events = reports.until(WritingFinished)
    seconds = time.monotonic() - began
    # One for the first token, one for the last, and one for each slice of time between them.
    assert len(events) - 1 <= seconds / COALESCE_SECONDS + 3


def test_a_new_run_ends_the_one_before(engine: MlxEngine, reports: Reports, folder: Path) -> None:
    engine.load(folder)
    reports.until(ModelReady)
    engine.write(1, "abc", ENDLESS)
    engine.write(2, "abc", SamplingSettings(max_tokens=2))
    ends = [reports.until(WritingFinished)[-1] for _ in range(2)]
    assert [end.run for end in ends] == [1, 2]  # type: ignore[union-attr]  # as above


def test_a_folder_that_holds_no_model_is_one_line_and_the_model_before_stays(
    engine: MlxEngine, reports: Reports, folder: Path, tmp_path: Path
) -> None:
    engine.load(folder)
    reports.until(ModelReady)
    engine.load(tmp_path)
    failed = reports.until(ModelFailed)[-1]
    assert isinstance(failed, ModelFailed)
    assert failed.path == tmp_path
    assert failed.reason
    assert "\n" not in failed.reason
    engine.write(1, "abc", SamplingSettings(max_tokens=2))
    assert reports.until(WritingFinished)[-1].reason != "failed"  # type: ignore[union-attr]  # as above


def test_writing_without_a_model_fails_in_one_line(engine: MlxEngine, reports: Reports) -> None:
    engine.write(1, "abc", SamplingSettings())
    end = reports.next()
    assert isinstance(end, WritingFinished)
    assert (end.reason, end.detail) == ("failed", "no model is loaded")


def test_stopping_in_the_middle_of_writing_takes_one_token(reports: Reports, folder: Path) -> None:
    engine = MlxEngine()
    engine.start(reports)
    engine.load(folder)
    engine.write(1, "abc", ENDLESS)
    reports.until(TextWritten)
    began = time.monotonic()
    assert engine.stop(30)
    assert time.monotonic() - began < 10, "the run would go on for minutes"


@pytest.fixture
def jobs() -> Iterator[JobThread]:
    jobs = JobThread("test")
    jobs.start()
    yield jobs
    assert jobs.stop(10)


def test_an_embedder_on_the_engines_thread_gives_the_same_vectors_in_slices(jobs: JobThread, folder: Path) -> None:
    embedder = load_embedder(folder)
    proxy = EngineEmbedder(jobs, embedder)
    texts = [f"text number {number}" for number in range(37)]
    assert (proxy.dims, proxy.fingerprint) == (embedder.dims, embedder.fingerprint)
    np.testing.assert_allclose(proxy.embed(texts), embedder.embed(texts), atol=1e-5)
    np.testing.assert_allclose(proxy.embed(["q"], "query"), embedder.embed(["q"], "query"), atol=1e-5)
    assert proxy.embed([]).shape == (0, embedder.dims)


def test_a_query_does_not_wait_long_for_a_busy_engine(jobs: JobThread, folder: Path) -> None:
    proxy, gate = EngineEmbedder(jobs, load_embedder(folder)), threading.Event()
    jobs.submit(gate.wait)
    with pytest.raises(EngineBusyError):
        proxy.embed(["q"], "query")
    gate.set()


def test_a_query_is_answered_while_the_model_writes(engine: MlxEngine, reports: Reports, folder: Path) -> None:
    engine.load(folder)
    reports.until(ModelReady)
    proxy = EngineEmbedder(engine._jobs, load_embedder(folder))
    engine.write(1, "abc", ENDLESS)
    reports.until(TextWritten)
    assert proxy.embed(["q"], "query").shape == (1, proxy.dims)
    engine.cancel()
