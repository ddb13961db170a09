"""Word documents (Office Open XML, ECMA-376): paragraphs, headings by style, lists, tables, notes, comments."""

import re

from mlx_mixer.documents.formats.archive import Archive
from mlx_mixer.documents.formats.builder import Builder
from mlx_mixer.documents.formats.flow import Flow
from mlx_mixer.documents.formats.properties import core_title
from mlx_mixer.documents.formats.xml_parts import Attributes, Handler, parse_xml

_BODY = "word/document.xml"
_STYLES = "word/styles.xml"
_APPENDED = (
    ("word/footnotes.xml", "Footnotes"),
    ("word/endnotes.xml", "Endnotes"),
    ("word/comments.xml", "Comments"),
)
_HEADING_NAME = re.compile(r"heading (\d)$", re.IGNORECASE)
_MAX_INHERITANCE = 20


def read(data: bytes, out: Builder) -> None:
    """Put a Word document into `out`."""
    archive = Archive(data, out)
    out.title = core_title(archive)
    styles = _Styles()
    if _STYLES in archive.names:
        parse_xml(archive.pieces(_STYLES), styles)
    parse_xml(archive.pieces(_BODY), _Text(out, styles.levels(), styles.items))
    for name, heading in _APPENDED:
        if name in archive.names:
            out.heading(1, heading, is_shown=False)
            parse_xml(archive.pieces(name), _Text(out, {}, set()))


class _Styles(Handler):
    """Which styles are headings, and of what level, and which are items of lists."""

    def __init__(self) -> None:
        self.items: set[str] = set()
        self._level: dict[str, int] = {}
        self._based_on: dict[str, str] = {}
        self._style = ""

    def start(self, name: str, attributes: Attributes, /) -> None:
        if name == "style":
            self._style = attributes.get("styleId", "")
        elif name == "name" and (match := _HEADING_NAME.match(attributes.get("val", ""))):
            self._level[self._style] = int(match[1])
        elif name == "name" and attributes.get("val", "").lower().startswith("list "):
            self.items.add(self._style)
        elif name == "outlineLvl" and attributes.get("val", "").isdigit():
            self._level.setdefault(self._style, _outline_level(attributes))
        elif name == "basedOn":
            self._based_on[self._style] = attributes.get("val", "")

    def end(self, name: str, /) -> None:
        if name == "style":
            self._style = ""

    def levels(self) -> dict[str, int]:
        """Return style -> level; a style takes it from the one it is based on."""
        found = dict(self._level)
        for style in self._based_on:
            ancestor = style
            for _ in range(_MAX_INHERITANCE):
                if ancestor in self._level or ancestor not in self._based_on:
                    break
                ancestor = self._based_on[ancestor]
            found[style] = self._level.get(ancestor, 0)
        return found


class _Text(Handler):
    def __init__(self, out: Builder, levels: dict[str, int], items: set[str]) -> None:
        self._flow = Flow(out)
        self._levels, self._items = levels, items
        self._level = 0
        self._is_item = False
        self._in_properties = 0
        self._in_fallback = 0
        self._in_text = False

    def start(self, name: str, attributes: Attributes, /) -> None:
        if name == "Fallback":  # the same text once more, for older programs
            self._in_fallback += 1
        if self._in_fallback:
            return
        if name == "t":
            self._in_text = True
        elif name == "p":
            self._flow.start_paragraph()
            self._level, self._is_item = 0, False
        elif name == "pPr":
            self._in_properties += 1
        elif self._in_properties:
            self._property(name, attributes)
        elif name in ("tab", "ptab"):
            self._flow.text("\t")
        elif name in ("br", "cr"):
            self._flow.text("\n")
        elif name == "noBreakHyphen":
            self._flow.text("-")
        elif name == "tbl":
            self._flow.start_table()
        elif name == "tr":
            self._flow.start_row()
        elif name == "tc":
            self._flow.start_cell()

    def end(self, name: str, /) -> None:
        if name == "Fallback":
            self._in_fallback -= 1
        if self._in_fallback:
            return
        if name == "t":
            self._in_text = False
        elif name == "p":
            self._flow.end_paragraph(level=self._level, is_item=self._is_item)
            self._level, self._is_item = 0, False
        elif name == "pPr":
            self._in_properties -= 1
        elif name == "tc":
            self._flow.end_cell()
        elif name == "tbl":
            self._flow.end_table()

    def text(self, text: str, /) -> None:
        if self._in_text and not self._in_fallback:
            self._flow.text(text)

    def _property(self, name: str, attributes: Attributes) -> None:
        if name == "pStyle":
            style = attributes.get("val", "")
            self._level, self._is_item = self._levels.get(style, 0), style in self._items
        elif name == "outlineLvl":
            self._level = _outline_level(attributes)
        elif name == "numPr":
            self._is_item = True


def _outline_level(attributes: Attributes) -> int:
    """0 is the highest heading, 9 is body text (ECMA-376 part 1, 17.3.1.20)."""
    value = attributes.get("val", "")
    return int(value) + 1 if value.isdigit() and int(value) < 9 else 0
