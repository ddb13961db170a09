"""Curves of braille characters, read back dot by dot."""

from hypothesis import given
from hypothesis import strategies as st

from mlx_mixer.training.braille import braille_curve, shares


def dots(lines: list[str]) -> set[tuple[int, int]]:
    """Place from the left and height from below of every dot, by Unicode's numbering of them."""
    numbered = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
    found = set()
    for row, line in enumerate(lines):
        for column, character in enumerate(line):
            for bit, (across, down) in enumerate(numbered):
                if (ord(character) - 0x2800) >> bit & 1:
                    found.add((2 * column + across, 4 * len(lines) - 1 - (4 * row + down)))
    return found


def test_a_rising_line_goes_from_below_left_to_above_right() -> None:
    assert dots(braille_curve(range(8), 4, 2)) == {(place, place) for place in range(8)}


def test_a_jump_is_joined() -> None:
    found = dots(braille_curve([0, 0, 7, 7], 2, 2))
    assert found == {(0, 0), (1, 0), *((2, height) for height in range(1, 8)), (3, 7)}


def test_values_that_are_all_alike_are_a_line_in_the_middle() -> None:
    assert dots(braille_curve([3.0] * 6, 3, 2)) == {(place, 4) for place in range(6)}


@given(st.lists(st.floats(-1e9, 1e9), max_size=60), st.integers(1, 12), st.integers(1, 5))
def test_every_value_has_its_place_and_nothing_lies_outside(values: list[float], columns: int, rows: int) -> None:
    lines = braille_curve(values, columns, rows)
    assert [len(line) for line in lines] == [columns] * rows
    assert {place for place, _ in dots(lines)} == set(range(min(len(values), 2 * columns)))


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=200), st.integers(1, 20))
def test_shares_keep_the_mean_where_they_are_even(values: list[int], count: int) -> None:
    found = shares(values, count)
    assert len(found) == min(len(values), count)
    assert min(values) <= min(found) <= max(found) <= max(values)
    if len(values) % count == 0:
        assert abs(sum(found) / len(found) - sum(values) / len(values)) < 1e-6
