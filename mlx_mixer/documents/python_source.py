"""Python source into sections by its own syntax tree: functions, classes and methods as headings."""

import ast
import warnings

from mlx_mixer.documents.structure import ReadDocument, Section

# The tree of a file takes a hundred times its bytes; larger files are nearly always data.
_MAX_PARSED_CHARACTERS = 2_000_000
_MAX_TITLE = 100

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def read_python(text: str) -> ReadDocument:
    """Split before every top-level definition and every method; text that does not parse stays one section."""
    tree = _parse(text)
    if tree is None:
        return ReadDocument(text)
    lines = text.split("\n")
    marks: dict[int, tuple[str, ...]] = {1: ()}  # line number, from 1 -> heading from there on
    _mark_definitions(tree.body, (), lines, marks)
    offsets = _line_offsets(lines)
    sections = [
        Section(offsets[line - 1], marks[line]) for line in sorted(marks) if line == 1 or offsets[line - 1] < len(text)
    ]
    docstring = (ast.get_docstring(tree) or "").strip().split("\n", 1)[0]
    return ReadDocument(text, docstring[:_MAX_TITLE], tuple(sections))


def _parse(text: str) -> ast.Module | None:
    if len(text) > _MAX_PARSED_CHARACTERS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # someone else's invalid escapes are not ours to report
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _mark_definitions(
    body: list[ast.stmt], heading: tuple[str, ...], lines: list[str], marks: dict[int, tuple[str, ...]]
) -> None:
    for node in body:
        if not isinstance(node, _Definition):
            continue
        kind = "class" if isinstance(node, ast.ClassDef) else "def"
        own = (*heading, f"{kind} {node.name}")
        end = node.end_lineno or node.lineno
        marks[_first_line(node, lines)] = own
        if isinstance(node, ast.ClassDef) and not heading:
            _mark_definitions(node.body, own, lines, marks)
        if end < len(lines):
            marks[end + 1] = heading  # until a later definition claims that line


def _first_line(node: _Definition, lines: list[str]) -> int:
    """Line number where a definition starts, its decorators and the comment right above it included."""
    line = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    while line > 1 and lines[line - 2].lstrip().startswith("#"):
        line -= 1
    return line


def _line_offsets(lines: list[str]) -> list[int]:
    offsets, offset = [], 0
    for line in lines:
        offsets.append(offset)
        offset += len(line) + 1
    return offsets
