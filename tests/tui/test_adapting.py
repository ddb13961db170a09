"""Search is adapted by a child process, and what takes the library over is followed while the application runs."""

import queue
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from textual.pilot import Pilot

from mlx_mixer.documents.library import Library
from mlx_mixer.documents.vectors import Floats, Kind
from mlx_mixer.paths import Paths
from tests.tui.conftest import AppFactory
from tests.tui.helpers import wait_for_text, wait_until
from tests.tui.scripted_engine import ScriptedEngine
from tui.adapting import Adapting
from tui.events import (
    EmbedderFailed,
    EmbedderReady,
    EngineEvent,
    IndexingFinished,
    IndexingProgress,
    LibraryEvent,
    LibraryFailed,
    LibraryState,
    ModelReady,
    SearchAdapted,
)
from tui.following import EmbedderFollower
from tui.reducer import apply_event
from tui.session import Session

TELLS = """
import sys, time
print("looking for questions", file=sys.stderr, flush=True)
print("choosing, model 2 of 4: questions 1,250/2,500", file=sys.stderr, flush=True)
{more}
"""


class Reports:
    def __init__(self) -> None:
        self._queue: queue.Queue[LibraryEvent] = queue.Queue()

    def next(self) -> LibraryEvent:
        return self._queue.get(timeout=60)

    def until_end(self) -> list[LibraryEvent]:
        events = [self._queue.get(timeout=60)]
        while not isinstance(events[-1], IndexingFinished | LibraryFailed):
            events.append(self._queue.get(timeout=60))
        return events

    def run(self, more: str) -> Adapting:
        command = [sys.executable, "-c", TELLS.format(more=more)]
        adapting = Adapting(self._queue.put, command)
        adapting.start()
        return adapting


def test_the_child_s_lines_become_progress_and_its_conclusion() -> None:
    reports = Reports()
    reports.run(
        'print("table\\n\\nIt finds more: your library is embedded by personal-1 from now on.\\nTo go back: x")'
    )
    *steps, end = reports.until_end()
    assert IndexingProgress("adapting", 0, 0, "looking for questions") in steps
    assert IndexingProgress("adapting", 1250, 2500, "choosing, model 2 of 4: questions") in steps
    assert end == IndexingFinished("It finds more: your library is embedded by personal-1 from now on.")
    assert reports.next() == SearchAdapted(end.summary)


def test_a_failure_is_the_child_s_own_line() -> None:
    reports = Reports()
    reports.run('print("mlx-mixer: only 3 questions", file=sys.stderr); sys.exit(1)')
    assert reports.until_end()[-1] == LibraryFailed("only 3 questions")


def test_it_can_be_stopped_and_started_again() -> None:
    reports = Reports()
    adapting = reports.run("time.sleep(600)")
    adapting.start()  # does nothing: it runs
    adapting.stop()
    end = reports.until_end()[-1]
    assert end == IndexingFinished("not adapted; nothing was changed", stopped=True)
    assert not adapting.is_running
    adapting.start()
    assert adapting.is_running
    adapting.stop()
    reports.until_end()


def follow(*steps: tuple[EngineEvent | LibraryEvent, str | None]) -> None:
    session = Session()
    follower = EmbedderFollower(session)
    for event, wanted in steps:
        apply_event(session, event)
        assert follower.next_after(event) == wanted, event


def test_the_present_embedder_comes_first_and_then_the_one_that_takes_over() -> None:
    follow(
        (LibraryState(), None),
        (ModelReady(None, 9), "default"),
        (LibraryState(incoming="personal"), None),
        (EmbedderReady(), "personal"),
        (EmbedderReady(), None),
        (LibraryState(embedder="personal"), None),
        (LibraryState(embedder="personal", incoming="default"), "default"),
    )


def test_a_personal_model_that_cannot_be_loaded_gives_way_to_the_bundled_one() -> None:
    follow(
        (ModelReady(None, 9), None),
        (LibraryState(embedder="gone"), "gone"),
        (EmbedderFailed("no model"), "default"),
        (EmbedderFailed("no model"), None),
        (LibraryState(embedder="gone"), None),
    )


def test_one_that_was_to_take_over_and_cannot_be_loaded_changes_nothing() -> None:
    follow(
        (LibraryState(incoming="gone"), None),
        (ModelReady(None, 9), "default"),
        (EmbedderReady(), "gone"),
        (EmbedderFailed("no model"), None),
        (LibraryState(incoming="gone"), None),
    )


class Flat:
    """Everything means the same."""

    dims = 1

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def embed(self, texts: Sequence[str], kind: Kind = "document") -> Floats:
        return np.ones((len(texts), 1), np.float32)


@pytest.fixture
def other(paths: Paths, notes: Path) -> Iterator[Library]:
    """The library, in the hands of another program."""
    with Library(paths.library, embedder=Flat("old")) as library:
        library.add([notes])
        yield library


async def test_a_change_by_another_program_is_followed_at_the_next_search(
    make_app: AppFactory, engine: ScriptedEngine, other: Library
) -> None:
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        assert isinstance(pilot, Pilot)
        await wait_until(pilot, lambda: engine.embedders_asked == ["default"])
        engine.embedder = Flat("old")
        engine._emit(EmbedderReady())
        await pilot.press("f4")
        await wait_for_text(pilot, "meaning 100 %")
        other.take_over("personal-x", Flat("new"))
        await pilot.press("d", "o", "u", "g", "h")
        await wait_until(pilot, lambda: engine.embedders_asked == ["default", "personal-x"])
        engine.embedder = Flat("new")
        engine._emit(EmbedderReady())
        await wait_until(pilot, lambda: other.embedder_choice().current == "personal-x")
