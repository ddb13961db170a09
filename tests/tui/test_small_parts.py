"""The pure parts: meter, marks, settings fields, session."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.app import App, ComposeResult

from mlx_mixer.errors import UsageError
from mlx_mixer.safe_text import safe_text
from mlx_mixer.sampling import SamplingSettings
from tui.events import (
    EmbedderReady,
    FoundPassage,
    IndexingFinished,
    IndexingProgress,
    LibraryFailed,
    LibraryState,
    ModelFailed,
    ModelLoading,
    ModelReady,
)
from tui.reducer import apply_event
from tui.screens.path_dialog import complete_path
from tui.session import Session
from tui.settings_fields import FIELDS, changed, shown
from tui.widgets.clean_input import MAX_CHARACTERS, CleanInput
from tui.widgets.hit_list import MARK_STYLE, MEANING_STYLE, around_first_mark, hit_content
from tui.widgets.library_status import state_text
from tui.widgets.meter import meter, share
from tui.widgets.plain import marked, plain, plain_line, short_path


@pytest.mark.parametrize(
    ("used", "total", "bar"),
    [
        (0, 0, "────"),
        (0, 8, "────"),
        (1, 800, "━───"),
        (4, 8, "━━──"),
        (799, 800, "━━━─"),
        (8, 8, "━━━━"),
        (9, 8, "━━━━"),
    ],
)
def test_a_meter_is_empty_or_full_only_when_that_is_so(used: int, total: int, bar: str) -> None:
    assert meter(used, total, cells=4).plain == bar


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(0, 0, "100 %"), (0, 9, "0 %"), (999, 1000, "99 %"), (9, 9, "100 %")]
)
def test_a_share_says_100_only_when_nothing_is_missing(part: int, whole: int, text: str) -> None:
    assert share(part, whole) == text


@settings(max_examples=60)
@given(st.text(), st.lists(st.tuples(st.integers(-3, 40), st.integers(-3, 40)), max_size=6))
def test_marks_stay_on_their_words_whatever_cleaning_removes(text: str, spans: list[tuple[int, int]]) -> None:
    content = marked(text, spans, "bold")
    done, words = 0, list[str]()
    for start, end in sorted(spans):
        word = text[max(start, done) : max(end, 0)]
        words.append(safe_text(word))
        done = max(done, min(end, len(text)))
    assert "".join(content.plain[span.start : span.end] for span in content.spans) == "".join(words)


def test_plain_text_keeps_brackets_and_lines_and_shows_controls() -> None:
    assert plain("[/] \x1b[1m\n[b]").plain == "[/] ␛[1m\n[b]"
    assert plain_line("a\nb\tc").plain == "a b c"


def test_home_is_written_as_a_tilde() -> None:
    assert short_path("/home/me/notes/a.md", home="/home/me") == "~/notes/a.md"
    assert short_path("/home/mean/a.md", home="/home/me") == "/home/mean/a.md"
    assert short_path("/a", home="/") == "/a"


PASSAGE = FoundPassage(
    chunk_id=1,
    path="/home/me/notes/cooking.md",
    line=5,
    heading="Cooking › Bread",
    snippet="and then at last, after a long and quiet night, the dough has risen",
    marks=((52, 57),),
    why="words: dough",
)


@pytest.mark.parametrize("cells", [20, 40, 69, 70, 120])
def test_a_hit_fits_its_width_and_shows_place_word_and_reason(cells: int) -> None:
    lines = hit_content(PASSAGE, cells).plain.split("\n")
    assert all(len(line) <= cells for line in lines)
    assert len(lines) == (2 if cells >= 70 else 3)
    assert lines[0].startswith("cooking.md:5")
    assert "words: dough" in "\n".join(lines)
    if cells >= 40:
        assert "dough" in lines[1]


def test_a_snippet_is_cut_only_when_its_first_mark_would_not_be_seen() -> None:
    assert around_first_mark("short text", ((0, 5),), (), 40) == ("short text", ((0, 5),), ())
    text, marks, near = around_first_mark(PASSAGE.snippet, PASSAGE.marks, ((58, 61),), 30)
    assert text.startswith("…")
    assert [text[start:end] for start, end in marks] == ["dough"]
    assert [text[start:end] for start, end in near] == ["has"]
    text, marks, near = around_first_mark(PASSAGE.snippet, (), ((52, 57),), 30)
    assert [text[start:end] for start, end in near] == ["dough"]


def test_words_and_meaning_are_marked_differently() -> None:
    content = hit_content(replace(PASSAGE, marks=((52, 57),), meaning_marks=((35, 40),)), 120)
    line = content.plain.index("\n") + 1
    styles = {content.plain[span.start : span.end]: str(span.style) for span in content.spans if span.start >= line}
    assert styles["dough"] == MARK_STYLE
    assert styles["quiet"] == MEANING_STYLE
    assert MARK_STYLE != MEANING_STYLE


def test_a_doubtful_match_and_a_page_are_said_in_the_line_of_the_hit() -> None:
    text = hit_content(replace(PASSAGE, match="weak", page=12), 120).plain
    assert "cooking.md:5 p. 12" in text
    assert "cooking.md:5 slide 12" in hit_content(replace(PASSAGE, page=12, page_kind="slide"), 120).plain
    assert "weak · words: dough" in text
    assert "weak" not in hit_content(PASSAGE, 120).plain


def test_a_further_place_takes_one_line() -> None:
    assert hit_content(replace(PASSAGE, line=40, is_further=True), 60).plain == "    :40  Bread"


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_what_a_field_shows_reads_back_as_the_same_value(field: object) -> None:
    odd = SamplingSettings(temperature=0.25, top_p=0.5, top_k=40, repetition_penalty=1.3, max_tokens=9, seed=12)
    for current in (SamplingSettings(), odd):
        assert changed(current, field, shown(current, field)) == current  # type: ignore[arg-type]  # one of FIELDS


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("temperature", "warm", "Temperature must be a number, not 'warm'"),
        ("temperature", "nan", "Temperature is nan"),
        ("temperature", "-1", "from 0 to 10"),
        ("top_p", "1.5", "Top-p is 1.5"),
        ("top_k", "2.5", "Top-k must be a whole number"),
        ("max_tokens", "0", "Max tokens is 0"),
        ("seed", "x", "Seed must be a whole number"),
        ("seed", "-1", "Seed is -1"),
    ],
)
def test_a_wrong_value_is_explained_in_one_line(name: str, text: str, message: str) -> None:
    field = next(field for field in FIELDS if field.name == name)
    with pytest.raises(UsageError, match=message) as caught:
        changed(SamplingSettings(), field, text)
    assert "\n" not in str(caught.value)


def test_an_empty_seed_is_a_random_one() -> None:
    seed = next(field for field in FIELDS if field.name == "seed")
    assert changed(SamplingSettings(seed=4), seed, " ").seed is None


def test_the_session_follows_the_events() -> None:
    session = Session()
    apply_event(session, ModelReady(None, 512))
    assert (session.model_state, session.context_length) == ("ready", 512)
    apply_event(session, ModelLoading(Path("/m")))
    apply_event(session, ModelFailed(Path("/m"), "damaged"))
    assert (session.model_path, session.model_state) == (None, "ready"), "the model before stays in use"
    apply_event(session, EmbedderReady())
    assert session.meaning == "ready"
    apply_event(session, LibraryState(2, 9, 3))
    apply_event(session, IndexingProgress("reading", 1, 2, "a"))
    assert session.indexing is not None
    apply_event(session, IndexingFinished("2 added"))
    assert (session.indexing, session.library_note) == (None, "2 added")
    apply_event(session, IndexingProgress("reading", 1, 2, "a"))
    apply_event(session, LibraryFailed("busy"))
    assert session.indexing is None


def test_the_library_is_described_by_documents_and_shares() -> None:
    session = Session()
    assert state_text(session) == "no documents yet"
    session.library = LibraryState(1, 3, 2)
    assert state_text(session) == "1 document · text 100 % · meaning 66 %"
    session.library = LibraryState(1200, 3, 3)
    assert state_text(session) == "1,200 documents · text 100 % · meaning 100 %"


def test_paths_are_completed_by_name_folders_end_in_a_slash_and_hidden_ones_wait(tmp_path: Path) -> None:
    for name in ("alpha", "beta", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "bottle.md").write_text("")
    (tmp_path / "b\x1bad").write_text("")
    assert complete_path(f"{tmp_path}/al", folders_only=False) == f"{tmp_path}/alpha/"
    assert complete_path(f"{tmp_path}/bo", folders_only=False) == f"{tmp_path}/bottle.md"
    assert complete_path(f"{tmp_path}/bo", folders_only=True) is None
    assert complete_path(f"{tmp_path}/", folders_only=False) == f"{tmp_path}/alpha/"
    assert complete_path(f"{tmp_path}/.h", folders_only=True) == f"{tmp_path}/.hidden/"
    assert complete_path(f"{tmp_path}/b\x1b", folders_only=False) is None
    assert complete_path("", folders_only=False) is None
    assert complete_path("/nowhere/at/all/x", folders_only=False) is None


async def test_a_line_of_input_is_clean_and_not_endless_however_it_got_its_text() -> None:
    class Host(App[None]):
        def compose(self) -> ComposeResult:
            yield CleanInput("a\x1b[1m\tb\u202e")

    async with Host().run_test() as pilot:
        entry = pilot.app.query_one(CleanInput)
        assert entry.value == "a␛[1m b"
        entry.value = "x" * (MAX_CHARACTERS + 5)
        assert len(entry.value) == MAX_CHARACTERS
