import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from textual.pilot import Pilot

from mlx_mixer.documents import migrations
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.vectors import Floats
from mlx_mixer.paths import Paths
from tests.mlx_mixer.documents.helpers import old_library_file
from tests.tui.conftest import AppFactory
from tests.tui.helpers import screen_text, started, type_text, wait_for_text, wait_until
from tests.tui.scripted_engine import ScriptedEngine
from tui import librarian
from tui.app import MixerApp
from tui.engine import EngineBusyError
from tui.events import EmbedderFailed, EmbedderReady
from tui.widgets.hit_list import HitList


@pytest.fixture
async def pilot(make_app: AppFactory, engine: ScriptedEngine) -> AsyncIterator[Pilot[int]]:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await started(pilot, engine)
        await pilot.press("f4")
        await wait_for_text(pilot, "Nothing to search yet")
        yield pilot


async def add(pilot: Pilot[int], folder: Path) -> None:
    """Add a folder through the dialog."""
    await pilot.press("ctrl+n")
    await wait_for_text(pilot, "Add a file or folder")
    pilot.app.screen.query_one("PathInput").value = str(folder)  # type: ignore[attr-defined]  # an Input
    await pilot.press("enter")
    await wait_for_text(pilot, "2 documents")


async def search(pilot: Pilot[int], query: str) -> None:
    await type_text(pilot, query)
    await wait_for_text(pilot, "passage")


async def test_adding_a_folder_makes_it_searchable_and_says_so(pilot: Pilot[int], notes: Path) -> None:
    await add(pilot, notes)
    await wait_for_text(pilot, "2 added")
    assert "2 documents · text 100 % · meaning 0 %" in screen_text(pilot.app)


async def test_what_another_process_adds_is_told_when_the_screen_is_entered_and_when_a_query_is_typed(
    pilot: Pilot[int], notes: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(librarian, "LOOK_SECONDS", 0.0)
    await pilot.press("f4")
    with Library(paths.library) as other:
        other.add([notes / "garden.md"])
        await pilot.press("f4")
        await wait_for_text(pilot, "1 document ·")
        other.add([notes])
        await type_text(pilot, "bed")
        await wait_for_text(pilot, "2 documents ·")


async def test_an_earlier_library_is_brought_forward_while_the_screen_says_so(
    make_app: AppFactory, engine: ScriptedEngine, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(migrations, "insert_blocks", waiting_for(gate, migrations.insert_blocks))
    paths.library.parent.mkdir(parents=True)
    assert old_library_file(paths.library.parent, version=3) == paths.library
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("f4")
        await wait_for_text(pilot, "● bringing forward")
        assert "0 / 6" in screen_text(pilot.app)
        gate.set()
        await started(pilot, engine)
        await wait_for_text(pilot, "7 documents ·")


def waiting_for(gate: threading.Event, work: Callable[..., None]) -> Callable[..., None]:
    """Do something only once a gate is open."""

    def waited(*arguments: object) -> None:
        assert gate.wait(60)
        work(*arguments)

    return waited


async def test_results_come_while_typing_with_place_words_and_reason(pilot: Pilot[int], notes: Path) -> None:
    await add(pilot, notes)
    await search(pilot, "dough overn")
    await wait_for_text(pilot, "cooking.md:5")
    text = screen_text(pilot.app)
    assert "Bread" in text
    assert "words: dough, overnight" in text
    assert "let the dough rest overnight in a cool place." in text


async def test_the_preview_follows_the_cursor_and_marks_the_words(pilot: Pilot[int], notes: Path) -> None:
    await add(pilot, notes)
    await search(pilot, "morning")
    await wait_for_text(pilot, "2 passages")
    title = pilot.app.screen.query_one("#preview-title")
    await wait_until(pilot, lambda: "cooking.md" in str(title.render()) or "garden.md" in str(title.render()))
    first = str(title.render())
    await pilot.press("down")
    await wait_until(pilot, lambda: str(title.render()) != first)
    preview = pilot.app.screen.query_one("#preview-text").render()
    marked = [str(preview)[span.start : span.end] for span in preview.spans]  # type: ignore[union-attr]
    assert [word.lower() for word in marked] == ["morning"]


async def test_the_cursor_follows_the_best_hit_while_typing_and_stays_when_the_library_grows(
    pilot: Pilot[int], notes: Path
) -> None:
    (notes / "cooking.md").write_text("# Stock\n\nwater, salt and morning\n")
    (notes / "garden.md").write_text("# Beds\n\nwater water water water\n")
    await add(pilot, notes)
    hits = pilot.app.screen.query_one(HitList)
    await search(pilot, "water")
    await wait_until(pilot, lambda: hits.current is not None and hits.current.path.endswith("garden.md"))
    await type_text(pilot, " morning salt")
    await wait_until(pilot, lambda: hits.current is not None and hits.current.path.endswith("cooking.md"))
    await pilot.press("down")
    assert isinstance(pilot.app, MixerApp)
    (notes / "third.md").write_text("# Third\n\nwater morning salt\n")
    pilot.app._librarian.add(notes)
    await wait_for_text(pilot, "3 passages")
    assert hits.current is not None
    assert hits.current.path.endswith("garden.md")


async def test_no_hit_says_what_to_do(pilot: Pilot[int], notes: Path) -> None:
    await add(pilot, notes)
    await type_text(pilot, "zebra")
    await wait_for_text(pilot, "No passage matches")


async def test_a_field_that_is_none_is_searched_as_words_and_said(pilot: Pilot[int], notes: Path) -> None:
    await add(pilot, notes)
    await type_text(pilot, "size:dough")
    await wait_for_text(pilot, "size: is no filter")
    await wait_for_text(pilot, "cooking.md:5")


async def test_filters_work_while_typing(pilot: Pilot[int], notes: Path) -> None:
    await add(pilot, notes)
    await search(pilot, "morning path:garden")
    await wait_for_text(pilot, "1 passage in")
    assert "garden.md" in screen_text(pilot.app)


async def test_clearing_the_query_brings_the_hint_back(pilot: Pilot[int], notes: Path) -> None:
    await add(pilot, notes)
    await search(pilot, "onions")
    await pilot.press("ctrl+u")
    await wait_for_text(pilot, "Type what you are looking for")


async def test_the_list_is_driven_by_letters_too(pilot: Pilot[int], notes: Path) -> None:
    await add(pilot, notes)
    await search(pilot, "morning")
    await wait_for_text(pilot, "2 passages")
    await pilot.press("tab", "j")
    hits = pilot.app.screen.query_one("HitList")
    await wait_until(pilot, lambda: hits.highlighted == 1)  # type: ignore[attr-defined]  # a HitList
    await pilot.press("k", "slash")
    assert pilot.app.focused is pilot.app.screen.query_one("QueryInput")


async def test_a_path_that_does_not_exist_is_said_in_the_dialog(pilot: Pilot[int]) -> None:
    await pilot.press("ctrl+n")
    await type_text(pilot, "/nowhere/at/all")
    await pilot.press("enter")
    await wait_for_text(pilot, "✗ /nowhere/at/all does not exist")
    await pilot.press("escape")
    await wait_for_text(pilot, "Nothing to search yet")


async def test_tab_completes_a_path(pilot: Pilot[int], notes: Path) -> None:
    await pilot.press("ctrl+n")
    entry = pilot.app.screen.query_one("PathInput")
    entry.value = str(notes.parent / "not")  # type: ignore[attr-defined]  # an Input
    await pilot.press("end")
    await wait_until(pilot, lambda: entry._suggestion)  # type: ignore[attr-defined]
    await pilot.press("tab")
    assert entry.value == f"{notes}/"  # type: ignore[attr-defined]


class OneDimension:
    """Everything means the same, so that every document is a neighbour of every query."""

    dims = 1
    fingerprint = "one"

    def __init__(self) -> None:
        self.is_busy = False

    def embed(self, texts: Sequence[str], kind: Literal["document", "query"] = "document") -> Floats:
        if kind == "query" and self.is_busy:
            raise EngineBusyError("busy")
        return np.ones((len(texts), 1), np.float32)


async def test_meaning_is_loaded_after_the_model_and_catches_up_with_the_documents(
    pilot: Pilot[int], engine: ScriptedEngine, notes: Path
) -> None:
    await wait_until(pilot, lambda: engine.embedders_asked == ["default"])
    await add(pilot, notes)
    engine.embedder = OneDimension()
    engine._emit(EmbedderReady())
    await wait_for_text(pilot, "meaning 100 %")


async def test_a_busy_engine_leaves_search_with_words(pilot: Pilot[int], engine: ScriptedEngine, notes: Path) -> None:
    await add(pilot, notes)
    engine.embedder = embedder = OneDimension()
    engine._emit(EmbedderReady())
    await wait_for_text(pilot, "meaning 100 %")
    embedder.is_busy = True
    await search(pilot, "onions")
    await wait_for_text(pilot, "cooking.md:10")
    assert "meaning 1.00" not in screen_text(pilot.app)
    embedder.is_busy = False
    await wait_for_text(pilot, "meaning 1.00")


async def test_without_an_embedder_the_status_says_that_meaning_is_off(
    pilot: Pilot[int], engine: ScriptedEngine, notes: Path
) -> None:
    await add(pilot, notes)
    engine._emit(EmbedderFailed("no such model"))
    await wait_for_text(pilot, "meaning off")


async def test_escape_stops_indexing(pilot: Pilot[int], engine: ScriptedEngine, notes: Path) -> None:
    gate, reached = threading.Event(), threading.Event()

    class Slow(OneDimension):
        def embed(self, texts: Sequence[str], kind: Literal["document", "query"] = "document") -> Floats:
            reached.set()
            gate.wait(10)
            return super().embed(texts, kind)

    for number in range(80):
        (notes / f"more{number}.md").write_text(f"# More\n\nNumber {number}.\n")
    engine.embedder = Slow()
    engine._emit(EmbedderReady())
    await pilot.press("ctrl+n")
    pilot.app.screen.query_one("PathInput").value = str(notes)  # type: ignore[attr-defined]  # an Input
    await pilot.press("enter")
    await wait_until(pilot, reached.is_set)
    await wait_for_text(pilot, "● ")
    await pilot.press("escape")
    gate.set()
    await wait_for_text(pilot, "stopped")


async def test_more_like_this_shows_neighbours_until_the_next_query(
    pilot: Pilot[int], notes: Path, engine: ScriptedEngine
) -> None:
    engine.embedder = OneDimension()
    await add(pilot, notes)
    engine._emit(EmbedderReady())
    await wait_for_text(pilot, "meaning 100 %")
    await search(pilot, "dough")
    await wait_for_text(pilot, "cooking.md:5")
    hits = pilot.app.screen.query_one(HitList)
    await wait_until(pilot, lambda: hits.current is not None)
    await pilot.press("tab", "m")
    await wait_for_text(pilot, "like cooking.md:5 in")
    assert hits.current is None or "cooking.md" not in hits.current.path
    await pilot.press("slash")
    await type_text(pilot, " overnight")
    await wait_until(pilot, lambda: "like cooking.md" not in screen_text(pilot.app))
    await wait_for_text(pilot, "cooking.md:5")
