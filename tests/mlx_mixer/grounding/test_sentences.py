from hypothesis import example, given
from hypothesis import strategies as st

from mlx_mixer.grounding.sentences import fit_sentences, sentence_spans, strip_span

TEXT = "One is first. Two is here!  Is three?\n\n- an item\n- another\n\nA last one"


def test_a_text_is_cut_after_sentences_items_and_paragraphs() -> None:
    pieces = [TEXT[a:b].strip() for a, b in sentence_spans(TEXT)]
    assert pieces == ["One is first.", "Two is here!", "Is three?", "- an item", "- another", "A last one"]


def test_a_number_with_a_point_and_a_dotted_name_stay_whole() -> None:
    text = "Version 3.11 calls os.path here. Next."
    assert [text[a:b] for a, b in sentence_spans(text)] == ["Version 3.11 calls os.path here. ", "Next."]


def test_long_stretches_without_an_end_of_sentence_are_cut_at_lines() -> None:
    code = "".join(f"value_{n} = compute({n})\n" for n in range(40))
    assert [code[a:b] for a, b in sentence_spans(code)] == code.splitlines(keepends=True)


@given(st.text(alphabet="ab .!?\n-", max_size=60))
def test_the_spans_joined_are_the_text(text: str) -> None:
    assert "".join(text[a:b] for a, b in sentence_spans(text)) == text


@given(st.text(alphabet="ab .!?\n", min_size=1, max_size=60), st.integers(0, 59), st.integers(0, 60))
@example("\n\n ?", 0, 2)
def test_what_is_chosen_fits_is_whole_sentences_and_cannot_be_widened(text: str, focus: int, room: int) -> None:
    focus = min(focus, len(text) - 1)
    span = fit_sentences(text, (0, len(text)), focus, lambda part: len(part) <= room)
    spans = sentence_spans(text)
    home = next((a, b) for a, b in spans if focus < b)
    if span is None:
        a, b = strip_span(text, home)
        assert b - a > room
        return
    assert span[1] - span[0] <= room
    covered = [(a, b) for a, b in spans if text[a:b].strip() and a < span[1] and b > span[0]]
    if covered:
        assert (span[0], span[1]) == strip_span(text, (covered[0][0], covered[-1][1]))


def test_what_was_found_comes_before_its_neighbours() -> None:
    text = "Before it. The found one. It goes on. After it."
    core = (text.index("The"), text.index(" After"))
    focus = text.index("It goes")
    room = len("The found one. It goes on.")
    span = fit_sentences(text, core, focus, lambda part: len(part) <= room)
    assert span is not None
    assert text[slice(*span)] == "The found one. It goes on."
    span = fit_sentences(text, core, focus, lambda part: len(part) <= room + 10)
    assert span is not None
    assert text[slice(*span)] == "The found one. It goes on. After it."


def test_code_keeps_the_indentation_of_its_first_line() -> None:
    text = "\n\n    if a:\n        b()\n\n"
    assert text[slice(*strip_span(text, (0, len(text))))] == "    if a:\n        b()"
