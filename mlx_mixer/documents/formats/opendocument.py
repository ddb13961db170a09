"""OpenDocument texts, sheets and presentations (ISO/IEC 26300): headings, lists, tables, slides."""

import re

from mlx_mixer.documents.formats.archive import Archive
from mlx_mixer.documents.formats.builder import Builder
from mlx_mixer.documents.formats.flow import Flow
from mlx_mixer.documents.formats.limits import FullError
from mlx_mixer.documents.formats.properties import core_title
from mlx_mixer.documents.formats.sheet import Sheet
from mlx_mixer.documents.formats.xml_parts import Attributes, Handler, parse_xml
from mlx_mixer.documents.unreadable import UnreadableError

_CONTENT = "content.xml"
_MANIFEST = "META-INF/manifest.xml"
_SPACE = re.compile(r"[ \t\r\n]+")
_MAX_SPACES = 100
# Text of earlier versions, of fields' definitions, and numbers of notes.
_LEFT_OUT = frozenset({"tracked-changes", "note-citation", "variable-decls", "sequence-decls", "creator", "date"})


def read(data: bytes, out: Builder) -> None:
    """Put an OpenDocument file into `out`."""
    archive = Archive(data, out)
    if _MANIFEST in archive.names and b"encryption-data" in archive.read(_MANIFEST):
        raise UnreadableError("password-protected")
    out.title = core_title(archive, "meta.xml")
    parse_xml(archive.pieces(_CONTENT), _Content(out))


class _Content(Handler):
    def __init__(self, out: Builder) -> None:
        self._out = out
        self._flow = Flow(out)
        self._levels: list[int] = []  # of the paragraphs that are open
        self._left_out = 0
        self._in_list = 0
        self._is_spreadsheet = False
        self._sheet: Sheet | None = None
        self._slides = 0
        self._cells: list[str] = []
        self._cell: list[str] = []

    def start(self, name: str, attributes: Attributes, /) -> None:
        if name in _LEFT_OUT:
            self._left_out += 1
        if self._left_out:
            return
        if name in ("p", "h"):
            self._levels.append(_count(attributes.get("outline-level"), 1) if name == "h" else 0)
            self._flow.start_paragraph()
        elif name == "s":
            self._text(" " * _count(attributes.get("c"), 1))
        elif name == "tab":
            self._text("\t")
        elif name == "line-break":
            self._text("\n")
        elif name == "list":
            self._in_list += 1
        elif name == "spreadsheet":
            self._is_spreadsheet = True
        elif name == "page":
            self._start_slide()
        elif name == "table":
            self._start_table(attributes)
        elif name == "table-row":
            self._cells = []
            self._flow.start_row()
        elif name in ("table-cell", "covered-table-cell"):
            self._cell = []
            self._flow.start_cell()

    def end(self, name: str, /) -> None:
        if self._left_out:
            self._left_out -= name in _LEFT_OUT
            return
        if name in ("p", "h") and self._levels:
            self._flow.end_paragraph(level=self._levels.pop(), is_item=self._in_list > 0)
        elif name == "list":
            self._in_list -= 1
        elif name in ("table-cell", "covered-table-cell"):
            self._cells.append(" ".join("".join(self._cell).split()))
            self._flow.end_cell()
        elif name == "table-row":
            if self._sheet:
                self._sheet.row(self._cells)
        elif name == "table" and not self._is_spreadsheet:
            self._flow.end_table()

    def text(self, text: str, /) -> None:
        if not self._left_out:
            self._text(_SPACE.sub(" ", text))

    def _text(self, text: str) -> None:
        if self._is_spreadsheet:
            self._cell.append(text)
        else:
            self._flow.text(text)

    def _start_slide(self) -> None:
        self._slides += 1
        if self._slides > self._out.limits.pages:
            raise FullError(f"only the first {self._out.limits.pages:,} slides")
        self._out.page("slide", str(self._slides))
        self._out.heading(1, f"Slide {self._slides}", is_shown=False)

    def _start_table(self, attributes: Attributes) -> None:
        if not self._is_spreadsheet:
            self._flow.start_table()
            return
        self._sheet = Sheet(attributes.get("name", ""), self._out)


def _count(text: str | None, default: int) -> int:
    return min(int(text), _MAX_SPACES) if text and text.isascii() and text.isdigit() else default
