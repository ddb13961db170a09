"""Folded texts, and the way back to the characters they stand for."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlx_mixer.folding import fold, fold_with_origins

# Letters whose lower case is longer or depends on its neighbours, and every kind of white space.
letters = st.sampled_from("aB İΣςßẞÅ\u0130\u1e9e\u00a0\u2003\n\t\x1c\x85\u3000x") | st.characters()


@given(st.text(letters))
@example("İİ ΑΣ\u2028Σ")
def test_both_ways_of_folding_agree(text: str) -> None:
    assert fold_with_origins(text).text == fold(text)


@given(st.text(letters), st.data())
def test_every_character_leads_back_to_what_it_stands_for(text: str, data: st.DataObject) -> None:
    folded = fold_with_origins(text)
    assert len(folded.starts) == len(folded.ends) == len(folded.text)
    if not folded.text:
        return
    index = data.draw(st.integers(0, len(folded.text) - 1))
    start, end = folded.span(index, index + 1)
    assert 0 <= start < end <= len(text)
    if folded.text[index] == " ":
        assert text[start:end].isspace() or not text[start:end].strip()
    else:
        assert folded.text[index] in fold_with_origins(text[start:end]).text or text[start:end] == "Σ"


@given(st.text(letters), st.data())
def test_spans_rise_with_the_text(text: str, data: st.DataObject) -> None:
    folded = fold_with_origins(text)
    first = data.draw(st.integers(0, len(folded.text)))
    last = data.draw(st.integers(first, len(folded.text)))
    start, end = folded.span(first, last)
    assert 0 <= start <= end <= len(text)
    assert folded.span(0, first)[0] <= start
    assert end <= folded.span(0, len(folded.text))[1]


@pytest.mark.parametrize(
    ("text", "word", "found"),
    [
        ("  Memory\n\tManagement ", "memory", "Memory"),
        ("  Memory\n\tManagement ", "management", "Management"),
        ("  Memory\n\tManagement ", " ", "\n\t"),
        ("İstanbul Airport", "airport", "Airport"),
        ("in İSTANBUL now", "i̇stanbul", "İSTANBUL"),
    ],
)
def test_a_word_is_found_where_it_stood(text: str, word: str, found: str) -> None:
    folded = fold_with_origins(text)
    start = folded.text.index(word)
    assert text[slice(*folded.span(start, start + len(word)))] == found
