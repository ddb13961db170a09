"""A line over time as braille characters: two dots across and four down for each, as fine as a terminal draws.

Pure Python: the terminal app draws with it too, without MLX.
"""

from collections.abc import Sequence
from itertools import pairwise

_FIRST = 0x2800
# Bit of each dot of a character, by column and by row from the top.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def braille_curve(values: Sequence[float], columns: int, rows: int) -> list[str]:
    """Draw values from left to right, the largest at the top.

    Args:
        values: Any number of finite values; if there are more than dots across, each dot is the mean of its share.
        columns: Characters across.
        rows: Characters down.

    Returns:
        `rows` lines of `columns` characters.
    """
    cells = [[0] * columns for _ in range(rows)]
    heights = _heights(shares(values, 2 * columns), 4 * rows)
    for place, height in enumerate(heights):
        # A line, not dots: from beside where the last one was to where this one is.
        before = heights[place - 1] if place else height
        beside = before + (before < height) - (before > height)
        for dot in range(min(height, beside), max(height, beside) + 1):
            down = 4 * rows - 1 - dot
            cells[down // 4][place // 2] |= _DOTS[place % 2][down % 4]
    return ["".join(chr(_FIRST + cell) for cell in line) for line in cells]


def shares(values: Sequence[float], count: int) -> list[float]:
    """At most `count` means of equal shares of some values, in order."""
    if len(values) <= count:
        return list(values)
    bounds = [round(index * len(values) / count) for index in range(count + 1)]
    parts = [values[start:stop] for start, stop in pairwise(bounds)]
    return [sum(part) / len(part) for part in parts]


def _heights(values: Sequence[float], dots: int) -> list[int]:
    """The dot of each value, counted from below."""
    if not values:
        return []
    low, high = min(values), max(values)
    if not high > low:
        return [dots // 2] * len(values)
    return [round((dots - 1) * (value - low) / (high - low)) for value in values]
