from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.conftest import AppFactory
from tests.tui.helpers import screen_text, started, strips, type_text, wait_for_text, wait_until
from tests.tui.scripted_engine import ScriptedEngine
from tui.app import MixerApp
from tui.events import ModelReady
from tui.screens.chat import QuestionInput
from tui.widgets.source_list import SourceList
from tui.widgets.transcript import MAX_SHOWN, Transcript


def app_of(pilot: Pilot[int]) -> MixerApp:
    assert isinstance(pilot.app, MixerApp)
    return pilot.app


@pytest.fixture
async def pilot(make_app: AppFactory, engine: ScriptedEngine, notes: Path) -> AsyncIterator[Pilot[int]]:
    async with make_app().run_test(size=(80, 24)) as pilot:
        app = await started(pilot, engine)
        app._librarian.add(notes)
        await wait_until(pilot, lambda: app.session.library is not None and app.session.library.documents == 2)
        await pilot.press("f6")
        await wait_for_text(pilot, "Ask something")
        yield pilot


async def ask(pilot: Pilot[int], engine: ScriptedEngine, question: str = "water in the morning") -> None:
    """Ask, and let the engine put the prompt together."""
    count = len(engine.questions)
    await type_text(pilot, question)
    await pilot.press("enter")
    await wait_until(pilot, lambda: len(engine.questions) > count)
    engine.prepare_prompt()
    await wait_for_text(pilot, "Will be sent")


async def send(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    count = len(engine.answers)
    await pilot.press("enter")
    await wait_until(pilot, lambda: len(engine.answers) > count)


async def test_what_will_be_sent_is_shown_with_its_tokens_before_anything_is(
    pilot: Pilot[int], engine: ScriptedEngine
) -> None:
    await ask(pilot, engine)
    await wait_for_text(pilot, "Enter sends this")
    text = screen_text(pilot.app)
    assert "Will be sent: 2 of 2 passages" in text
    prepared = app_of(pilot).chat_screen._prepared
    assert prepared is not None
    lines = text.splitlines()
    for source in prepared.sources:
        name = f"[{source.number}] {Path(source.path).name}:{source.line} "
        assert [line.rstrip().endswith(f" {source.tokens} tokens") for line in lines if name in line] == [True]
    assert f"{prepared.passage_tokens} of {prepared.passage_budget} tokens" in text
    assert f"{prepared.tokens} + {prepared.answer_tokens} / 512" in text
    assert "Enter sends this" in text
    assert engine.answers == []


async def test_an_answer_streams_and_its_quotations_are_marked_and_listed(
    pilot: Pilot[int], engine: ScriptedEngine
) -> None:
    await ask(pilot, engine)
    await send(pilot, engine)
    engine.reply('It says "Water in the morning, and only', ' the soil" [1], and "never at night" [1].')
    await wait_for_text(pilot, "✓ answered")
    await wait_for_text(pilot, 'night"✗')
    text = " ".join(screen_text(pilot.app).split())
    assert "› water in the morning" in text
    assert 'only the soil"✓ [1]' in text
    sources = pilot.app.screen.query_one(SourceList)
    assert sources.option_count == 4
    await pilot.press("tab", "tab", "end")
    await wait_for_text(pilot, "not in the documents")


async def test_a_passage_is_switched_off_with_space_and_on_again(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await ask(pilot, engine)
    pilot.app.screen.query_one(SourceList).focus()
    await pilot.press("down", "space")
    await wait_until(pilot, lambda: engine.questions[-1].without == {2})
    engine.prepare_prompt()
    await wait_for_text(pilot, "1 of 2 passages")
    await wait_for_text(pilot, "switched off")
    await pilot.press("space")
    await wait_until(pilot, lambda: engine.questions[-1].without == set())
    engine.prepare_prompt()
    await wait_for_text(pilot, "2 of 2 passages")
    sources = pilot.app.screen.query_one(SourceList)
    assert sources.highlighted == 1
    await wait_for_text(pilot, "Esc, then Enter sends this")
    await pilot.press("escape")
    await wait_for_text(pilot, "● Enter sends this")
    await send_from_list(pilot, engine)
    await pilot.press("space")
    await pilot.pause()
    assert not sources.can_switch


async def send_from_list(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    pilot.app.screen.query_one(QuestionInput).focus()
    await send(pilot, engine)
    pilot.app.screen.query_one(SourceList).focus()


async def test_enter_on_a_passage_or_quotation_opens_its_place(
    pilot: Pilot[int], engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch, notes: Path
) -> None:
    opened: list[tuple[Path, int]] = []
    monkeypatch.setattr("tui.external.ExternalEditor.open", lambda _, path, line: opened.append((path, line)))
    await ask(pilot, engine)
    await send(pilot, engine)
    engine.reply('"Carrots want a deep and sandy bed." [1]')
    await wait_until(pilot, lambda: pilot.app.screen.query_one(SourceList).option_count == 3)
    pilot.app.screen.query_one(SourceList).focus()
    await pilot.press("home", "enter", "end", "enter")
    await wait_until(pilot, lambda: len(opened) == 2)
    assert opened[0][0].parent == notes
    assert opened[1] == (notes / "garden.md", 3)


async def test_escape_stops_an_answer_and_keeps_it(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await ask(pilot, engine)
    await send(pilot, engine)
    engine._emit_answer("As far as it came")
    await wait_for_text(pilot, "● answering")
    await pilot.press("escape")
    await wait_for_text(pilot, "■ stopped")
    assert engine.cancellations == 1
    engine._emit_answer(" and no further")
    await pilot.pause()
    assert "and no further" not in screen_text(pilot.app)
    assert [turn.text for turn in app_of(pilot).chat_screen._turns] == ["water in the morning", "As far as it came"]


async def test_escape_or_another_question_drops_what_was_prepared(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await ask(pilot, engine)
    await pilot.press("escape")
    await wait_for_text(pilot, "○ ready")
    assert "Will be sent" not in screen_text(pilot.app)
    await pilot.press("enter")
    await wait_until(pilot, lambda: len(engine.questions) == 2)
    engine.prepare_prompt()
    await wait_for_text(pilot, "Will be sent")
    await type_text(pilot, "s")
    await wait_for_text(pilot, "○ ready")
    assert engine.answers == []


async def test_without_documents_a_question_is_sent_at_once(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await pilot.press("f8")
    await wait_for_text(pilot, "without documents")
    await type_text(pilot, "hello")
    await pilot.press("enter")
    await wait_until(pilot, lambda: engine.questions)
    assert engine.questions[-1].candidates is None
    engine.prepare_prompt()
    await wait_until(pilot, lambda: engine.answers)
    engine.reply('Good "day" to you')
    await wait_for_text(pilot, "✓ answered")
    assert "Good" in screen_text(pilot.app)
    assert "✗" not in screen_text(pilot.app)


async def test_what_was_said_goes_along_with_the_next_question(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await ask(pilot, engine)
    await send(pilot, engine)
    engine.reply("In the morning.")
    await wait_for_text(pilot, "✓ answered")
    await ask(pilot, engine, "and carrots")
    assert [turn.text for turn in engine.questions[-1].turns] == ["water in the morning", "In the morning."]
    await pilot.press("escape", "ctrl+n")
    await wait_for_text(pilot, "Ask something")
    await ask(pilot, engine, "and carrots")
    assert engine.questions[-1].turns == ()


async def test_where_nothing_matches_it_says_so_and_enter_asks_all_the_same(
    pilot: Pilot[int], engine: ScriptedEngine
) -> None:
    await type_text(pilot, "zebra")
    await pilot.press("enter")
    await wait_until(pilot, lambda: engine.questions)
    engine.prepare_prompt()
    await wait_for_text(pilot, "▲ Nothing in your documents matches")
    assert engine.answers == []
    await send(pilot, engine)
    await wait_until(pilot, lambda: "▲" not in screen_text(pilot.app))


async def test_an_empty_library_says_how_to_fill_it(make_app: AppFactory, engine: ScriptedEngine) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await started(pilot, engine)
        await pilot.press("f6")
        await type_text(pilot, "zebra")
        await pilot.press("enter")
        await wait_until(pilot, lambda: engine.questions)
        engine.prepare_prompt()
        await wait_for_text(pilot, "▲ There are no documents yet. F4, then Ctrl+N adds a folder.")


async def test_the_prompt_can_be_read_whole(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await ask(pilot, engine)
    await pilot.press("f9")
    await wait_for_text(pilot, "What is sent")
    await wait_for_text(pilot, "[1] garden.md: Garden")
    await pilot.press("escape")
    await wait_for_text(pilot, "Will be sent")


async def test_a_question_that_does_not_fit_says_why(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    engine._context_length = 4
    await type_text(pilot, "water in the morning")
    await pilot.press("enter")
    await wait_until(pilot, lambda: engine.questions)
    engine.refuse("the question takes 99 tokens and this model sees 4")
    await wait_for_text(pilot, "✗ the question takes 99 tokens")
    await pilot.press("escape")
    await wait_until(pilot, lambda: "99 tokens" not in screen_text(pilot.app))


async def test_a_failed_answer_says_why_and_the_question_can_be_asked_again(
    pilot: Pilot[int], engine: ScriptedEngine
) -> None:
    await ask(pilot, engine)
    await send(pilot, engine)
    engine.fail_answer("out of memory")
    await wait_for_text(pilot, "✗ out of memory")
    await pilot.press("escape")
    await ask(pilot, engine)


async def test_up_brings_an_earlier_question_back(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await ask(pilot, engine)
    await send(pilot, engine)
    engine.reply("Yes.")
    await wait_for_text(pilot, "✓ answered")
    await pilot.press("up")
    assert pilot.app.screen.query_one(QuestionInput).value == "water in the morning"
    await pilot.press("down")
    assert pilot.app.screen.query_one(QuestionInput).value == ""


async def test_a_long_conversation_keeps_few_widgets(pilot: Pilot[int]) -> None:
    transcript = pilot.app.screen.query_one(Transcript)
    for number in range(MAX_SHOWN + 5):
        transcript.ask(f"question {number}")
        transcript.write("answer")
        await pilot.pause()
    await wait_until(pilot, lambda: len(transcript.children) == 2 * MAX_SHOWN)


async def test_the_end_of_an_answer_is_in_sight_on_a_small_screen(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await ask(pilot, engine)
    await send(pilot, engine)
    engine.reply("word " * 400, "THE END.")
    await wait_for_text(pilot, "THE END.")
    assert len([strip for strip in strips(pilot.app) if "word" in strip.text]) >= 5


async def test_another_model_shows_in_the_bar_and_gets_a_prompt_of_its_own(
    pilot: Pilot[int], engine: ScriptedEngine
) -> None:
    await ask(pilot, engine)
    engine._emit(ModelReady(Path("/models/essays"), 99))
    await wait_for_text(pilot, "essays")
    await wait_until(pilot, lambda: len(engine.questions) == 2)
    assert engine.questions[1].question == engine.questions[0].question
    assert engine.answers == []
