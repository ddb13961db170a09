"""Pictures and tables."""

from xml.etree import ElementTree

import pytest

from mlx_mixer.study.plot import Bar, BarPanel, Line, Panel, panels_svg
from mlx_mixer.study.table import text_table

SVG = "{http://www.w3.org/2000/svg}"


def points(svg: str) -> list[list[tuple[float, float]]]:
    lines = ElementTree.fromstring(svg).iter(f"{SVG}polyline")
    return [[(float(x), float(y)) for x, y in (p.split(",") for p in line.attrib["points"].split())] for line in lines]


def test_lines_of_several_panels_stand_beside_each_other_and_more_is_higher() -> None:
    first = Panel(
        "a & b", "tokens", "loss", [Line("mixer", [(0, 4.0), (10, 2.0)]), Line("llama", [(0, 5.0), (10, 1.0)])]
    )
    second = Panel("<c>", "n", "top-1", [Line("mixer", [(32, 90.0), (512, 40.0)])], log_x=True, from_zero=True)
    svg = panels_svg([first, second])
    mixer, llama, other = points(svg)
    assert mixer[0][1] < mixer[1][1]  # up is less in a picture
    assert llama[0][1] < mixer[0][1] < mixer[1][1] < llama[1][1]
    assert max(x for x, _ in mixer + llama) < min(x for x, _ in other)
    shown = [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert {"a & b", "<c>", "32", "512"} <= set(shown)


def test_powers_of_two_are_evenly_apart() -> None:
    panel = Panel("t", "x", "y", [Line("mixer", [(32, 1.0), (64, 2.0), (128, 3.0)])], log_x=True)
    ((first, _), (second, _), (third, _)) = points(panels_svg([panel]))[0]
    assert second - first == pytest.approx(third - second, abs=0.2)


def test_bars_are_as_high_as_their_values_and_a_zero_can_be_seen() -> None:
    bars = [Bar("mixer", [0.0, 0.5], [0.0, 0.1]), Bar("llama", [1.0, 0.25], [0.0, 0.0])]
    root = ElementTree.fromstring(panels_svg([BarPanel("t", "y", ["untrained, big", "trained"], bars)]))
    heights = [float(bar.attrib["height"]) for bar in root.iter(f"{SVG}rect")][1:]
    assert heights[0] == 1.0
    assert heights[1] == pytest.approx(heights[2] / 2, abs=0.2)
    assert heights[3] == pytest.approx(heights[2] / 4, abs=0.2)


@pytest.mark.parametrize("values", [[3.0], [0.0], [2.0, 2.0]])
def test_one_value_alone_can_be_drawn(values: list[float]) -> None:
    panel = Panel("t", "x", "y", [Line("mixer", [(1, value) for value in values])])
    assert len(points(panels_svg([panel]))[0]) == len(values)


def test_columns_of_a_table_stand_under_their_heads() -> None:
    table = text_table(("model", "loss"), [("mixer", "3.25"), ("a longer one", "10.5")])
    assert table == "model         loss\n------------------\nmixer         3.25\na longer one  10.5\n"
