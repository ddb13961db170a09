"""A snippet shows where the words are."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_mixer.documents.close_up import END_MARK, START_MARK, split_marks
from mlx_mixer.documents.snippet import make_snippet


def shown(text: str, width: int = 240) -> tuple[str, list[str]]:
    body, spans = split_marks(text.replace("[", START_MARK).replace("]", END_MARK))
    snippet = make_snippet(body, spans, width=width)
    return snippet.text, [snippet.text[start:end] for start, end in snippet.marks]


def test_marks_are_taken_out_and_remembered() -> None:
    text = f"a {START_MARK}b{END_MARK} c {START_MARK}d e{END_MARK}"
    assert split_marks(text) == ("a b c d e", ((2, 3), (6, 9)))
    assert split_marks("plain") == ("plain", ())


def test_a_short_body_is_shown_whole_on_one_line() -> None:
    assert shown("  one\n\n  [two]\tthree \n") == ("one two three", ["two"])


def test_without_a_match_the_beginning_is_shown() -> None:
    text, marks = shown("beginning of it " + "and more " * 100)
    assert text.startswith("beginning of it and")
    assert text.endswith(("more…", "and…"))
    assert marks == []


def test_the_window_with_the_most_different_words_is_chosen() -> None:
    filler = "filler words " * 40
    text, marks = shown(f"[cache] [cache] [cache] {filler} the [cache] is [trimmed] here {filler}")
    assert marks == ["cache", "trimmed"]
    assert text.startswith("…")
    assert text.endswith("…")


def test_words_at_the_edges_are_whole() -> None:
    text, _ = shown("alphabet " * 30 + "[match] " + "alphabet " * 30, width=100)
    assert set(text.strip("…").split()) == {"alphabet", "match"}


def test_the_line_of_the_match_can_be_found() -> None:
    body, spans = split_marks(f"one\ntwo\n{START_MARK}three{END_MARK}")
    assert body.count("\n", 0, make_snippet(body, spans).start) == 2


@given(st.lists(st.sampled_from(["filler words " * 5, "[one]", "[two]", "[Two]", "[three]"]), max_size=60))
def test_no_match_begins_a_window_with_more_different_words_than_the_chosen_one(pieces: list[str]) -> None:
    body, spans = split_marks(" ".join(pieces).replace("[", START_MARK).replace("]", END_MARK))

    def different(start: int) -> int:
        return len({body[a:b].lower() for a, b in spans if start <= a and b <= start + 180})

    if spans:
        assert different(make_snippet(body, spans, width=240).start) == max(different(start) for start, _ in spans)


@given(st.lists(st.tuples(st.text(max_size=30), st.booleans()), max_size=20), st.integers(1, 120))
@settings(max_examples=200)
def test_marks_always_show_what_was_marked(pieces: list[tuple[str, bool]], width: int) -> None:
    clean = [(text.replace(START_MARK, "").replace(END_MARK, ""), marked) for text, marked in pieces]
    body, spans = split_marks("".join(f"{START_MARK}{text}{END_MARK}" if marked else text for text, marked in clean))
    assert body == "".join(text for text, _ in clean)
    snippet = make_snippet(body, spans, width=width)
    originals = [" ".join(body[start:end].split()) for start, end in spans]
    assert len(snippet.text) <= width + 2
    position = 0
    for start, end in snippet.marks:
        assert position <= start < end <= len(snippet.text)
        assert any(snippet.text[start:end].strip() in original for original in originals)
        position = end
