"""Python falls into sections at its definitions."""

import ast
import random
import sysconfig
from itertools import accumulate
from pathlib import Path

import pytest
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
    """On some of the standard library, written by many hands."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    paths = [path for path in sorted(folder.rglob("*.py")) if "site-packages" not in path.parts]
    files = [path.read_bytes() for path in random.Random(1).sample(paths, 50)]
    texts = [text for data in files if (text := clean(decode(data)[0])) and is_python(text)]
    assert len(texts) > 30
    for text in texts:
        document = read_python(text)
        assert (document.sections, document.title) == by_tree(text)


# Where a line with no more indentation goes on with what came before.
HARD = [
    "def f():\n    x = (\n1,\n2)\n    return x\n\ny = 2\n",
    "def f():\n    return 1 + \\\n2\n\ny = 2\n",
    "@decorated(\n1,\n)\ndef f(): pass\ny = 2\n",
    "x = (a\n@ b)\ndef f(): pass\n",
    "x = a \\\n@ b\ndef f(): pass\n",
    "class A(  # so: long\n  Base):\n    def m(self): return (\n    1)\n    x = 1\n",
    "class A(x[\n1:\n  2]):\n    def m(self): pass\n",
    "class A:\n    def m(self):\n        return {')': '(',\n    1: 2}\n    def n(self): pass\n",
    "\fdef f(): pass\n    \f# a comment\nx = 1\n",
    "x = '#' # \"\"\"\ndef f(): pass\ny = '''#\ndef no(): '''\n",
    "x = 'a\\\ndef no(): '\ndef f(): '''a\\'''\n# b''' # '''\n",
]


@pytest.mark.parametrize("text", HARD, ids=range(len(HARD)))
def test_statements_that_indentation_does_not_show_are_those_of_the_syntax_tree(text: str) -> None:
    assert read_python(text).sections == by_tree(text)[0]


PARTS = [
    "def f():\n    pass\n",
    "def r(): \\\n  pass\n",
    "async def g(a,\n b):\n  return [\n1]\n",
    "\fdef k(): pass\n",
    "if x:\n    def h():\n        pass\n",
    "class A:\n",
    "    def m(self):\n        return 1\n",
    "    async def n(self): return (\n    1)\n",
    "    x = (\n1,\n    2)\n",
    "    y = {1: 'a',\n    2: 3}\n",
    "@d\n",
    "@d(\n1,\n)\n",
    "    @p\n",
    "z = a \\\n@ b\n",
    "w = (a\n@ b)\n",
    "# c\n",
    "    # i\n",
    "\n",
    "s = '''\ndef no():\n  '''\n",
    '    """doc # \' \n    def no2(self): pass\n    """\n',
    "u = \"'''\"\n",
    "v = '#' # '\"\"\"\n",
    '    q = 1; r = """a\nb\\""""; w = 2\n',
]


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=8).map("".join))
@settings(max_examples=200)
def test_any_valid_source_falls_where_its_syntax_tree_does(text: str) -> None:
    if is_python(text):
        document = read_python(text)
        assert (document.sections, document.title) == by_tree(text)


def is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


@pytest.mark.parametrize(
    "text",
    ["x=(\n1)\ny=" + "a," * 20_000, "x=" + "(" * 50_000, "x=(\n1)\ny=" + "-" * 50_000 + "1"],
    ids=["long", "open", "deep"],
)
def test_source_that_strains_a_parser_has_sections_all_the_same(text: str) -> None:
    assert read_python("def f():\n  " + text).sections[0].heading == ("def f",)


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
