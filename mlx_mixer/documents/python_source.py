"""Python source into sections: functions, classes and methods as headings."""

import ast
import re

from mlx_mixer.documents.python_outline import outline
from mlx_mixer.documents.python_strings import SIMPLE, TRIPLE_DOUBLE, TRIPLE_SINGLE, with_strings_in_one_line
from mlx_mixer.documents.structure import ReadDocument, Section, shortened

_MAX_TITLE = 100
_DOCSTRING = re.compile(
    rf"(?:[ \t\f]*(?:#[^\n]*)?\n)*([rRuU]?(?:{TRIPLE_DOUBLE}|{TRIPLE_SINGLE}|{SIMPLE}))[ \t]*(?:[#;\n]|\Z)",
    re.DOTALL,
)


def read_python(text: str) -> ReadDocument:
    """Split before every top-level definition and every method, the comment above it included."""
    headings = sorted(outline(with_strings_in_one_line(text)).items())
    sections = tuple(Section(start, heading) for start, heading in headings if start < len(text) or not start)
    return ReadDocument(text, _title(text), sections)


def _title(text: str) -> str:
    """The first line of the module's docstring."""
    match = _DOCSTRING.match(text)
    try:
        docstring = ast.literal_eval(match[1]) if match else ""
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return ""
    return shortened(str(docstring).strip().split("\n", 1)[0], _MAX_TITLE)
