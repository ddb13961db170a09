"""Python falls into sections at its definitions."""

import ast
import os
from itertools import accumulate
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_mixer.documents.encodings import clean, decode
from mlx_mixer.documents.python_source import read_python
from mlx_mixer.documents.structure import Section

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


def test_source_that_does_not_parse_has_its_definitions_all_the_same() -> None:
    text = "def broken(:\n  pass\n\nclass B:\n    def go(self):\n        print 'two'\n"
    assert [heading for heading, _ in parts(text)] == [("def broken",), (), ("class B",), ("class B", "def go")]
    for text in ("x = '\0'", "(" * 5000, "'''" * 5001, '"""' + '\\"""' * 100_000, "'" * 100_000):
        assert [section.start for section in read_python(text).sections] == [0]


def test_code_inside_strings_defines_nothing() -> None:
    text = 'USAGE = """\ndef no():\n    pass\n# no\n"""\n\n\ndef yes():\n    """\nclass No:\n    """\n    return 1\n'
    assert [heading for heading, _ in parts(text)] == [(), ("def yes",)]


def test_sections_are_those_of_the_syntax_tree() -> None:
    """On the standard library, written by many hands. Where a line inside brackets is indented oddly, we may differ."""
    folder = Path(os.__file__).parent
    names = ["asyncio", "email", "json", "xml"]
    files = [path for name in names for path in sorted((folder / name).rglob("*.py"))]
    assert len(files) > 60
    texts = [clean(decode(path.read_bytes())[0]) for path in files if path.stat().st_size]
    different = [text for text in texts if (read_python(text).sections, read_python(text).title) != by_tree(text)]
    assert len(different) <= len(texts) // 100


def by_tree(text: str) -> tuple[tuple[Section, ...], str]:
    """The slow way: sections by the syntax tree, and the first line of the docstring."""
    tree, lines = ast.parse(text), text.split("\n")
    marks: dict[int, tuple[str, ...]] = {1: ()}  # line number, from 1 -> heading from there on

    def mark(body: list[ast.stmt], heading: tuple[str, ...]) -> None:
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            own = (*heading, f"{'class' if isinstance(node, ast.ClassDef) else 'def'} {node.name}")
            line = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            while line > 1 and lines[line - 2].lstrip().startswith("#"):
                line -= 1
            marks[line] = own
            if isinstance(node, ast.ClassDef) and not heading:
                mark(node.body, own)
            assert node.end_lineno is not None
            if node.end_lineno < len(lines):
                marks[node.end_lineno + 1] = heading

    mark(tree.body, ())
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    sections = (Section(starts[line - 1], marks[line]) for line in sorted(marks))
    title = (ast.get_docstring(tree) or "").strip().split("\n", 1)[0]
    return tuple(section for section in sections if section.start < len(text)), title[:100]


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
