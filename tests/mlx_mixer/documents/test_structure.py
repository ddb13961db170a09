"""What readers and chunker share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_mixer.documents.structure import shortened


@pytest.mark.parametrize(
    ("words", "most", "expected"),
    [
        ("  as long as that ", 15, "as long as that"),
        ("checkpoints that a killed run goes on from", 35, "checkpoints that a killed run goes…"),
        ("checkpoints that a killed run goes on from", 34, "checkpoints that a killed run…"),
        ("第一章 很長的標題沒有空格也必須完整", 12, "第一章 很長的標題沒有…"),
        ("Supercalifragilistic", 5, "Supe…"),
        ("settings, weights, optimiser state, log", 36, "settings, weights, optimiser state…"),
    ],
)
def test_a_heading_ends_after_a_word(words: str, most: int, expected: str) -> None:
    assert shortened(words, most) == expected


@given(st.text(), st.integers(2, 30))
def test_a_heading_is_no_longer_than_it_may_be(words: str, most: int) -> None:
    short = shortened(words, most)
    assert len(short) <= most
    assert short == words.strip() or words.strip().startswith(short[:-1])
