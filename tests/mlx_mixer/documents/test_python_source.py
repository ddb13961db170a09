"""Python falls into sections at its definitions."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_mixer.documents.python_source import read_python

SOURCE = '''"""Count things.

More.
"""
import os

# How many.
LIMIT = 3


# Counts.
# Twice.
@cached
def count(things):
    def inner():
        pass
    return len(things)


class Counter:
    """A class."""

    start = 0

    async def next(self):
        return 1

    @property
    def value(self):
        return 2


print(count([]))
'''


def parts(text: str) -> list[tuple[tuple[str, ...], str]]:
    document = read_python(text)
    ends = [section.start for section in document.sections[1:]] + [len(text)]
    return [(s.heading, text[s.start : e]) for s, e in zip(document.sections, ends, strict=True)]


def test_definitions_are_headings_with_their_decorators_and_comments() -> None:
    found = parts(SOURCE)
    assert [heading for heading, text in found if text.strip()] == [
        (),
        ("def count",),
        ("class Counter",),
        ("class Counter", "def next"),
        ("class Counter", "def value"),
        (),
    ]
    by_heading = dict(found[:-1])
    assert by_heading["def count",].startswith("# Counts.\n# Twice.\n@cached\ndef count")
    assert by_heading["class Counter", "def value"].lstrip().startswith("@property")
    assert "print" in found[-1][1]


def test_the_title_is_the_first_line_of_the_docstring() -> None:
    assert read_python(SOURCE).title == "Count things."
    assert read_python("x = 1\n").title == ""


def test_source_that_does_not_parse_stays_whole() -> None:
    for text in ("def broken(:\n  pass\n", "print 'two'\n", "x = '\0'", "(" * 5000):
        assert [section.start for section in read_python(text).sections] == [0]


def test_an_invalid_escape_is_not_reported_as_ours() -> None:
    assert [section.heading for section in read_python("def f():\n    return '\\d'\n").sections] == [("def f",)]


@given(
    st.lists(st.sampled_from(["def f(): pass", "class A:", "  def m(self): pass", "  x = 1", "", "# c", "@d", "y = 2"]))
)
@settings(max_examples=150)
def test_sections_always_cover_the_text(lines: list[str]) -> None:
    text = "\n".join(lines)
    starts = [section.start for section in read_python(text).sections]
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert not text or starts[-1] < len(text)
