"""A sheet of rows: one line each, under the sheet's name and its header row."""

import re
from collections.abc import Sequence

from mlx_mixer.documents.formats.builder import Builder
from mlx_mixer.documents.formats.flow import CELL_SEPARATOR

_NUMBER = re.compile(r"[-+(]?[\d.,: /%-]+\)?$")
# Past this many, a row is data for a program.
_MAX_CELLS = 200


class Sheet:
    """Puts rows into `out`, as a page of its own; every part of a long sheet has the header row as its heading."""

    def __init__(self, name: str, out: Builder) -> None:
        self._out = out
        self._is_first = True
        out.page("sheet", name)
        out.heading(1, name, is_shown=False)

    def row(self, cells: Sequence[str]) -> None:
        cells = [" ".join(cell.split()) for cell in cells[:_MAX_CELLS]]
        while cells and not cells[-1]:
            cells.pop()
        if not cells:
            return
        if self._is_first and is_header(cells):
            self._out.heading(2, ", ".join(cell for cell in cells if cell), is_shown=False)
        self._is_first = False
        self._out.line(CELL_SEPARATOR.join(cells))


def is_header(cells: Sequence[str]) -> bool:
    """Whether a first row names its columns: several words, no numbers."""
    named = [cell for cell in cells if cell.strip()]
    return len(named) >= 2 and not any(_NUMBER.match(cell.strip()) for cell in named)
