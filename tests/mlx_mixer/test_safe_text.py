"""Foreign text cannot act on a terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_mixer.safe_text import MAX_COMBINING_MARKS, safe_line, safe_text

ATTACKS = [
    "\x1b]52;c;aGVsbG8=\x07",  # writes the clipboard
    "\x1b]0;title\x1b\\",
    "\x1b[2J\x1b[H",
    "\x9b31mred",  # CSI as one C1 byte
    "\x1bP+q544e\x1b\\",
    "line\rover",
    "\u202eright to left",
    "a\u200bb\ufeff",
    "tag\U000e0041",
    "\x00nul\x7fdel\x08\x0b\x0c",
]


def acts_on_a_terminal(character: str) -> bool:
    category = unicodedata.category(character)
    is_control = category in ("Cc", "Zl", "Zp", "Cs") and character not in "\t\n"
    return is_control or character in "\u202a\u202b\u202d\u202e\u2066\u2067\u2068"


@pytest.mark.parametrize("attack", ATTACKS)
def test_known_attacks_come_out_harmless(attack: str) -> None:
    assert not any(acts_on_a_terminal(character) for character in safe_text(attack))


@given(st.text())
def test_no_text_acts_on_a_terminal(text: str) -> None:
    assert not any(acts_on_a_terminal(character) for character in safe_text(text))


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert safe_text(safe_text(text)) == safe_text(text)


@given(st.lists(st.text(max_size=5)))
def test_a_stream_may_be_cut_anywhere_between_visible_characters(parts: list[str]) -> None:
    """Only the limit on combining marks looks back; everything that acts is judged character by character."""
    streamed = "".join(safe_text(part) for part in parts)
    assert not any(acts_on_a_terminal(character) for character in streamed)


def test_ordinary_text_is_untouched() -> None:
    for text in ("plain", "tabs\tand\nlines", "naïve — “quotes” 日本語 🙂", "[/] [red]markup[/red]"):
        assert safe_text(text) == text


def test_escape_is_shown() -> None:
    assert safe_text("\x1b[1m") == "␛[1m"


def test_surrogates_of_undecodable_names_are_replaced() -> None:
    assert safe_text("caf\udce9") == "caf\ufffd"


def test_towers_of_marks_are_cut() -> None:
    assert len(safe_text("e" + "\u0301" * 2000)) == 1 + MAX_COMBINING_MARKS


def test_a_line_has_no_breaks() -> None:
    assert safe_line("a\tb\nc") == "a b c"
