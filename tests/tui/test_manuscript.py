from collections.abc import AsyncIterator

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from tui.widgets.manuscript import MAX_PASTE_CHARACTERS, Manuscript


class Desk(App[int]):
    """Nothing but a manuscript."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.text = text
        self.taken_over = 0
        self.refused = 0

    def compose(self) -> ComposeResult:
        yield Manuscript(self.text)

    def on_manuscript_took_over(self) -> None:
        self.taken_over += 1

    def on_manuscript_paste_refused(self) -> None:
        self.refused += 1


@pytest.fixture
async def pilot() -> AsyncIterator[Pilot[int]]:
    async with Desk().run_test() as pilot:
        yield pilot


def manuscript(pilot: Pilot[int]) -> Manuscript:
    return pilot.app.query_one(Manuscript)


async def continued(pilot: Pilot[int], *slices: str, before: str = "Once upon") -> Manuscript:
    text = manuscript(pilot)
    text.focus()
    await pilot.press(*("space" if letter == " " else letter for letter in before))
    text.begin_continuation()
    for part in slices:
        text.continue_with(part)
    await pilot.pause()
    return text


async def test_text_of_the_model_is_put_where_the_cursor_was(pilot: Pilot[int]) -> None:
    text = await continued(pilot, " a", " time")
    assert text.text == "Once upon a time"
    assert text.cursor_location == (0, len("Once upon a time"))


async def test_a_continuation_in_the_middle_leaves_the_rest_behind_it(pilot: Pilot[int]) -> None:
    text = manuscript(pilot)
    text.load_text("first last")
    text.move_cursor((0, 5))
    text.begin_continuation()
    text.continue_with(" and\nsecond")
    text.continue_with(" and")
    assert text.text == "first and\nsecond and last"


async def test_one_undo_takes_a_whole_continuation_back_and_one_redo_brings_it(pilot: Pilot[int]) -> None:
    text = await continued(pilot, " a", " time\n", "\nthere", " was")
    text.end_continuation()
    text.undo()
    assert text.text == "Once upon"
    text.redo()
    assert text.text == "Once upon a time\n\nthere was"


async def test_undo_leaves_the_lines_wrapped_as_if_the_text_were_new(pilot: Pilot[int]) -> None:
    text = await continued(pilot, *[" many words" for _ in range(60)], "\n", *[" and more" for _ in range(60)])
    text.end_continuation()
    text.undo()
    await pilot.pause()
    assert text.wrapped_document.height == 1
    assert text.virtual_size.height == 1


async def test_typing_before_and_after_are_undo_steps_of_their_own(pilot: Pilot[int]) -> None:
    text = await continued(pilot, " a time")
    text.end_continuation()
    await pilot.press("x", "y")
    assert text.text == "Once upon a timexy"
    text.undo()
    assert text.text == "Once upon a time"
    text.undo()
    assert text.text == "Once upon"


async def test_the_continuation_has_its_own_style_until_the_user_goes_on(pilot: Pilot[int]) -> None:
    text = await continued(pilot, " a\ntime")
    text.end_continuation()
    assert [(span.start, span.end) for span in text.get_line(0).spans] == [(9, 11)]
    assert [(span.start, span.end) for span in text.get_line(1).spans] == [(0, 4)]
    await pilot.press("x")
    assert not text.has_continuation
    assert text.get_line(0).spans == []


async def test_an_edit_while_the_model_writes_takes_over_and_later_text_is_ignored(pilot: Pilot[int]) -> None:
    text = await continued(pilot, " a")
    await pilot.press("!")
    text.continue_with(" time")
    await pilot.pause()
    assert text.text == "Once upon a!"
    assert isinstance(pilot.app, Desk)
    assert pilot.app.taken_over == 1


async def test_looking_at_an_earlier_line_is_not_disturbed_by_new_text(pilot: Pilot[int]) -> None:
    text = await continued(pilot, " a\ntime")
    text.move_cursor((0, 2))
    text.continue_with(" there was")
    assert text.cursor_location == (0, 2)
    assert text.text == "Once upon a\ntime there was"


async def test_discarding_takes_back_only_an_untouched_finished_continuation(pilot: Pilot[int]) -> None:
    text = await continued(pilot, " a time")
    assert not text.discard_continuation()
    text.end_continuation()
    assert text.discard_continuation()
    assert text.text == "Once upon"
    assert not text.discard_continuation()


async def test_a_continuation_without_text_leaves_no_trace(pilot: Pilot[int]) -> None:
    text = await continued(pilot)
    text.end_continuation()
    assert not text.has_continuation
    text.undo()
    assert text.text == ""


async def test_what_is_typed_pasted_or_written_by_the_model_is_cleaned(pilot: Pilot[int]) -> None:
    text = await continued(pilot, "\x1b[2J\x9b\u202e")
    text.end_continuation()
    text.insert("\x1b]52;c;AAAA\x07")
    assert text.text == "Once upon␛[2J␛]52;c;AAAA␇"


async def test_an_enormous_paste_is_refused_as_a_whole(pilot: Pilot[int]) -> None:
    text = manuscript(pilot)
    text.focus()
    pilot.app.post_message(events.Paste("x" * (MAX_PASTE_CHARACTERS + 1)))
    await pilot.pause()
    assert text.text == ""
    assert isinstance(pilot.app, Desk)
    assert pilot.app.refused == 1
    pilot.app.post_message(events.Paste("short"))
    await pilot.pause()
    assert text.text == "short"
