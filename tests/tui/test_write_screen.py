from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from mlx_mixer.paths import Paths
from mlx_mixer.sampling import SamplingSettings
from tests.tui.conftest import AppFactory
from tests.tui.helpers import keep_text, screen_text, started, type_text, wait_for_text, wait_until
from tests.tui.scripted_engine import ScriptedEngine
from tui.app import MixerApp
from tui.preferences import load_preferences


@pytest.fixture
async def pilot(make_app: AppFactory, engine: ScriptedEngine) -> AsyncIterator[Pilot[int]]:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await started(pilot, engine)
        yield pilot


def text_of(pilot: Pilot[int]) -> str:
    assert isinstance(pilot.app, MixerApp)
    return pilot.app.write_screen.text


async def begin(pilot: Pilot[int], engine: ScriptedEngine, prefix: str = "Once upon") -> None:
    """Enter a prefix and ask for a continuation."""
    asked = len(engine.requests)
    assert isinstance(pilot.app, MixerApp)
    pilot.app.write_screen.manuscript.insert(prefix)
    await pilot.press("tab")
    await wait_until(pilot, lambda: len(engine.requests) > asked)


async def test_tab_sends_the_text_before_the_cursor_and_what_comes_streams_into_place(
    pilot: Pilot[int], engine: ScriptedEngine
) -> None:
    await begin(pilot, engine)
    assert engine.requests == [(1, "Once upon", SamplingSettings())]
    engine.say(" a", " time")
    await wait_until(pilot, lambda: text_of(pilot) == "Once upon a time")
    assert "● writing" in screen_text(pilot.app)
    assert "41 tok/s" in screen_text(pilot.app)
    engine.finish("stop", tokens=8)
    await wait_for_text(pilot, "✓ end of text  8 tokens")


async def test_f5_continues_too(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await type_text(pilot, "Once")
    await pilot.press("f5")
    await wait_until(pilot, lambda: engine.requests)


async def test_only_the_text_before_the_cursor_is_sent(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await type_text(pilot, "one two")
    await pilot.press("left", "left", "left", "left", "tab")
    await wait_until(pilot, lambda: engine.requests)
    assert engine.requests[0][1] == "one"
    engine.say(" and a half")
    await wait_until(pilot, lambda: text_of(pilot) == "one and a half two")


async def test_escape_stops_and_keeps_what_was_written(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await begin(pilot, engine)
    engine.say(" a time")
    await wait_until(pilot, lambda: text_of(pilot) == "Once upon a time")
    stopped = engine.cancellations
    await pilot.press("escape")
    await wait_for_text(pilot, "■ stopped")
    assert engine.cancellations == stopped + 1
    engine.say_for(1, [" that comes too late"])
    await pilot.pause()
    assert text_of(pilot) == "Once upon a time"


async def test_typing_stops_the_model_and_is_not_mixed_with_its_words(
    pilot: Pilot[int], engine: ScriptedEngine
) -> None:
    await begin(pilot, engine)
    engine.say(" a")
    await wait_until(pilot, lambda: text_of(pilot) == "Once upon a")
    await type_text(pilot, " while")
    await wait_for_text(pilot, "■ stopped")
    engine.say_for(1, [" time"])
    await pilot.pause()
    assert text_of(pilot) == "Once upon a while"


async def test_text_of_an_earlier_run_never_reaches_a_later_one(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await begin(pilot, engine)
    await pilot.press("escape", "tab")
    await wait_until(pilot, lambda: len(engine.requests) == 2)
    engine.say_for(1, [" stale"])
    engine.say(" fresh")
    await wait_until(pilot, lambda: text_of(pilot) == "Once upon fresh")


async def test_tab_while_the_model_writes_does_nothing(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await begin(pilot, engine)
    engine.say(" a")
    await pilot.press("tab")
    await pilot.pause()
    assert len(engine.requests) == 1


async def test_retry_takes_the_continuation_back_and_asks_again(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await begin(pilot, engine)
    engine.say(" a time")
    engine.finish()
    await wait_for_text(pilot, "✓ end of text")
    await pilot.press("ctrl+r")
    await wait_until(pilot, lambda: len(engine.requests) == 2)
    assert engine.requests[1][:2] == (2, "Once upon")
    assert text_of(pilot) == "Once upon"


async def test_retry_works_in_the_middle_of_writing(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await begin(pilot, engine)
    engine.say(" a time")
    await wait_until(pilot, lambda: text_of(pilot) == "Once upon a time")
    await pilot.press("ctrl+r")
    await wait_until(pilot, lambda: len(engine.requests) == 2)
    assert engine.requests[1][1] == "Once upon"


async def test_undo_takes_a_continuation_back_in_one_step(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await begin(pilot, engine)
    engine.say(" a", " time", "\nthere was")
    engine.finish()
    await wait_until(pilot, lambda: text_of(pilot).endswith("there was"))
    await pilot.press("ctrl+z")
    assert text_of(pilot) == "Once upon"


async def test_an_empty_text_is_not_sent(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await pilot.press("tab")
    await wait_for_text(pilot, "Write a few words first")
    assert engine.requests == []


async def test_a_full_window_and_a_reached_limit_are_said_in_words(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await begin(pilot, engine)
    engine.say(" a", slides=1)
    await wait_for_text(pilot, "▲ The window is full.")
    assert "512 / 512" in screen_text(pilot.app)
    engine.finish("length", tokens=200, slides=1)
    await wait_for_text(pilot, "Reached 200 tokens. Tab goes on from here")
    assert "▲ window" in screen_text(pilot.app)


async def test_a_failure_while_writing_keeps_the_text_and_says_why(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await begin(pilot, engine)
    engine.say(" a time")
    engine.finish("failed", detail="out of memory")
    await wait_for_text(pilot, "✗ out of memory")
    assert text_of(pilot) == "Once upon a time"


async def test_settings_are_used_for_the_next_continuation_and_remembered(
    pilot: Pilot[int], engine: ScriptedEngine, paths: Paths
) -> None:
    await pilot.press("f2")
    await type_text(pilot, "0.3")
    await pilot.press("tab", "tab", "tab", "tab", "tab")
    await type_text(pilot, "7")
    await pilot.press("escape")
    await begin(pilot, engine)
    wanted = SamplingSettings(temperature=0.3, seed=7)
    assert engine.requests[0][2] == wanted
    assert isinstance(pilot.app, MixerApp)
    pilot.app.keep_preferences()
    assert load_preferences(paths.state).settings == wanted


async def test_a_wrong_setting_gives_one_line_and_the_last_right_one_stays(
    pilot: Pilot[int], engine: ScriptedEngine
) -> None:
    await pilot.press("f2")
    await type_text(pilot, "99")
    await wait_for_text(pilot, "✗ Temperature is 99.0; it must be")
    assert "-wrong" in pilot.app.screen.query_one("#temperature").classes
    await pilot.press("escape")
    assert pilot.app.screen.query_one("#temperature", Input).value == "9"
    await begin(pilot, engine)
    assert engine.requests[0][2].temperature == 9


async def test_escape_closes_the_settings_and_returns_to_the_text(pilot: Pilot[int]) -> None:
    await pilot.press("f2")
    await wait_for_text(pilot, "Temperature")
    await pilot.press("escape")
    await type_text(pilot, "back")
    assert text_of(pilot) == "back"
    assert "Temperature" not in screen_text(pilot.app)


async def test_a_continuation_asked_for_while_the_model_loads_starts_when_it_is_there(make_app: AppFactory) -> None:
    engine = ScriptedEngine(is_ready=False)
    app = make_app()
    app._engine = engine
    async with app.run_test(size=(80, 24)) as pilot:
        await started(pilot, engine)
        await wait_for_text(pilot, "◌ loading the model")
        await begin(pilot, engine)
        await wait_for_text(pilot, "◌ waiting for the model")
        engine.become_ready()
        engine.say(" a time")
        await wait_for_text(pilot, "● writing")


async def test_a_model_that_cannot_be_loaded_is_said_in_one_line_and_the_text_stays_usable(
    make_app: AppFactory,
) -> None:
    engine = ScriptedEngine(is_ready=False)
    app = make_app()
    app._engine = engine
    async with app.run_test(size=(80, 24)) as pilot:
        await started(pilot, engine)
        await begin(pilot, engine)
        engine.fail_to_load("the weights are damaged")
        await wait_for_text(pilot, "✗ the weights are damaged. Ctrl+L chooses another model.")
        assert "✗ no model" in screen_text(app)
        await type_text(pilot, " more")
        assert app.write_screen.text == "Once upon more"


async def test_a_remembered_model_that_is_gone_is_replaced_by_the_bundled_one(
    make_app: AppFactory, tmp_path: Path
) -> None:
    engine = ScriptedEngine(is_ready=False)
    app = make_app(model=tmp_path / "gone")
    app._engine = engine
    async with app.run_test(size=(80, 24)) as pilot:
        await started(pilot, engine)
        engine.fail_to_load("there is no such folder")
        await wait_until(pilot, lambda: engine.loaded == [tmp_path / "gone", None])
        await wait_for_text(pilot, "✗ there is no such folder. The bundled model is used instead.")
        engine.become_ready()
        await wait_for_text(pilot, "○ ready")


async def test_a_model_that_fails_leaves_the_one_before_in_use(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    engine.loaded.append(Path("/broken"))
    engine.fail_to_load("the weights are damaged")
    await wait_for_text(pilot, "✗ the weights are damaged")
    assert "○ ready" in screen_text(pilot.app)
    assert "Bundled model" in screen_text(pilot.app)
    await begin(pilot, engine)


async def test_the_text_is_there_again_at_the_next_start(
    make_app: AppFactory, engine: ScriptedEngine, paths: Paths
) -> None:
    keep_text(paths, "from last time")
    async with make_app().run_test(size=(80, 24)) as pilot:
        await started(pilot, engine)
        await type_text(pilot, " and now")
        await pilot.press("ctrl+q")
    assert (paths.data / "draft.txt").read_text() == "from last time and now"
    assert (paths.data / "draft.txt").stat().st_mode & 0o777 == 0o600


async def test_writing_goes_on_while_the_user_searches(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    await begin(pilot, engine)
    await pilot.press("f4")
    await wait_for_text(pilot, "Nothing to search yet")
    engine.say(" a time")
    await wait_until(pilot, lambda: text_of(pilot) == "Once upon a time")
    await pilot.press("f3")
    await wait_for_text(pilot, "Once upon a time")
