"""Jupyter notebooks as the Markdown they nearly are, a page for each cell."""

import json
import re
from typing import Any

from mlx_mixer.documents.encodings import clean, decode
from mlx_mixer.documents.formats.builder import Builder
from mlx_mixer.documents.formats.damaged import DamagedError
from mlx_mixer.documents.markdown import read_markdown
from mlx_mixer.documents.structure import ReadDocument

_MAX_OUTPUT = 2_000
_FENCE = re.compile(r"`{3,}")


def read(data: bytes, out: Builder) -> None:
    """Put a notebook (nbformat 3 or 4) into `out`."""
    text, out.encoding = decode(data)
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError("it is not valid JSON") from error
    language = _string(notebook.get("metadata", {}).get("language_info", {}).get("name", ""))
    cells = notebook.get("cells")
    if cells is None:
        cells = [cell for sheet in notebook.get("worksheets", []) for cell in sheet.get("cells", [])]
    parts, starts, length = [], [], 0
    for cell in cells:
        starts.append(length)
        parts.append(clean(_cell(cell, language)))
        length += len(parts[-1])
    document = read_markdown("".join(parts))
    out.title = document.title
    out.append(ReadDocument(document.text, document.title, document.sections, document.blocks, tuple(starts), "cell"))


def _cell(cell: dict[str, Any], language: str) -> str:
    source = _string(cell.get("source", cell.get("input", ""))).strip("\n")
    if not source.strip():
        return ""
    if cell.get("cell_type") != "code":
        return source + "\n\n"
    outputs = "\n".join(filter(None, map(_output, cell.get("outputs", []))))[:_MAX_OUTPUT]
    return _fenced(source, language) + (_fenced(outputs, "") if outputs.strip() else "")


def _output(output: dict[str, Any]) -> str:
    """The text a cell printed or ended with, or its error."""
    if output.get("ename"):
        return f"{_string(output['ename'])}: {_string(output.get('evalue', ''))}"
    plain = output.get("data", {}).get("text/plain", "")
    return _string(output.get("text") or plain).strip("\n")


def _fenced(code: str, language: str) -> str:
    longest = max(map(len, _FENCE.findall(code)), default=2)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{code}\n{fence}\n\n"


def _string(value: object) -> str:
    """The format allows a string or a list of lines."""
    return "".join(map(str, value)) if isinstance(value, list) else str(value)
