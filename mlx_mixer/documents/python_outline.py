"""Where the definitions of Python source start and end: what its syntax tree says, mostly without building it.

A definition starts at a line that says so and lasts until a line with no more indentation starts a statement. Strings
out of the way, only brackets and backslashes can carry a statement over such a line; where a definition's own brackets
do not close, or the line before ends in a backslash, the tree is asked. That costs a tenth of asking it always. Source
without a tree (Python 2, a syntax error, a file that is being written) is cut by its indentation alone.
"""

import ast
import re
from functools import cache

from mlx_mixer.documents.python_strings import without_strings

Headings = dict[int, tuple[str, ...]]
# The first line of what is inside a class: after the colon that ends its header.
_BODY = re.compile(r":[ \t]*(?:#[^\n]*)?\n(?:[ \t\f]*(?:#[^\n]*)?\n)*([ \t]+)")
# Indentation counts anew after a form feed.
_FORM_FEED = re.compile(r"\n[ \t]*\f[ \t\f]*[^\s#]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"()[]{}"))
# A tree takes two hundred times the room of its source.
_MAX_TREE = 200_000


def outline(code: str) -> Headings:
    """Return offsets, and the definitions one is in from there on; what lies outside of any has an empty tuple.

    Args:
        code: The source; no string goes over the end of a line.
    """
    found = _Indentation(code)
    if not found.is_certain and len(code) <= _MAX_TREE:
        try:
            return _by_tree(code)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            pass
    return found.headings


class _Indentation:
    """The outline by indentation.

    Attributes:
        headings: As `outline` returns them.
        is_certain: Whether the tree would give the same.
    """

    def __init__(self, code: str) -> None:
        self.headings: Headings = {0: ()}
        self._code = "\n" + code  # every line starts after a line end
        self.is_certain = not ("\f" in code and _FORM_FEED.search(self._code))
        self._mark(0, len(self._code), "", ())

    def _mark(self, start: int, stop: int, indentation: str, heading: tuple[str, ...]) -> None:
        """Note where each definition with this indentation starts, and where what is around it goes on."""
        code, next_statement = self._code, _statement(indentation)
        decorated = None
        for match in _definition(indentation).finditer(code, start, stop):
            line = match.start()
            kind = match[1]
            if kind is None:  # a decorator
                if decorated is None:
                    decorated = line
                    self._check(line, line)
                continue
            end = next_statement.search(code, match.end(), stop)
            end_line = end.start() if end else stop
            self._check(line, end_line)
            own = (*heading, f"{kind} {match[2]}")
            after = _after_code(code, line, end_line)
            if decorated is not None:
                self._check(decorated, line)
                line, decorated = decorated, None
            self.headings[_with_comment(code, line)] = own
            if kind == "class" and not heading and (body := _BODY.search(code, match.end(), after + 1)):
                self._check(match.start(), body.start())
                self._mark(body.start(), after, body[1], own)
            self.headings[after] = heading  # until a later definition claims that line

    def _check(self, start: int, stop: int) -> None:
        """Doubt the outline if what starts in one line may go on in the line at `stop`."""
        if self.is_certain:
            self.is_certain = self._code[stop - 1 : stop] != "\\" and _is_closed(self._code, start, stop)


def _is_closed(code: str, start: int, stop: int) -> bool:
    """Whether as many brackets close as open, by a look at all of them or else at those outside of strings."""
    part = code[start:stop]
    return _has_pairs(part) or _has_pairs(without_strings(part))


def _has_pairs(code: str) -> bool:
    brackets = code.encode("utf-8", "replace").translate(None, _NO_BRACKETS)
    count = brackets.count
    return count(b"(") == count(b")") and count(b"[") == count(b"]") and count(b"{") == count(b"}")


@cache
def _definition(indentation: str) -> "re.Pattern[str]":
    """Lines with this indentation that define something, or decorate what does."""
    # The letter is looked at first because nearly every line has another one there.
    return re.compile(rf"\n{indentation}(?=[@acd])(?:@|(?:async[ \t]+)?(def|class)[ \t]+(\w+))")


@cache
def _statement(indentation: str) -> "re.Pattern[str]":
    """Lines with this indentation that start a statement: no comments, and no brackets that close what came before."""
    return re.compile(rf"\n{indentation}(?=[^\s#)\]}}])")


def _with_comment(code: str, line: int) -> int:
    """Where the lines of comment right above a line start."""
    while line:
        above = code.rfind("\n", 0, line)
        if not code[above:line].lstrip().startswith("#"):
            break
        line = above
    return line


def _after_code(code: str, start: int, stop: int) -> int:
    """Where the line after the last line of code in ``code[start:stop]`` starts."""
    while (line := code.rfind("\n", start, stop)) > start:
        words = code[line:stop].strip()
        if words and words[0] != "#":
            break
        stop = line
    return stop


def _by_tree(code: str) -> Headings:
    """The outline by the syntax tree; of code without its strings, which would only cost time and raise warnings."""
    headings: Headings = {0: ()}
    shifted = "\n" + code
    starts = [0, *(match.end() for match in re.finditer("\n", code)), len(code) + 1]

    def mark(body: list[ast.stmt], heading: tuple[str, ...]) -> None:
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            own = (*heading, f"{'class' if isinstance(node, ast.ClassDef) else 'def'} {node.name}")
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            headings[_with_comment(shifted, starts[first - 1])] = own
            if isinstance(node, ast.ClassDef) and not heading:
                mark(node.body, own)
            assert node.end_lineno is not None
            headings[starts[node.end_lineno]] = heading

    mark(ast.parse(without_strings(code)).body, ())
    return headings
