"""Excel workbooks (Office Open XML): every sheet's rows, with dates as dates."""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta

from mlx_mixer.documents.formats.archive import Archive
from mlx_mixer.documents.formats.builder import Builder
from mlx_mixer.documents.formats.limits import FullError
from mlx_mixer.documents.formats.properties import core_title
from mlx_mixer.documents.formats.relations import targets
from mlx_mixer.documents.formats.sheet import Sheet
from mlx_mixer.documents.formats.xml_parts import Attributes, Handler, feed_xml, parse_xml

_WORKBOOK = "xl/workbook.xml"
_MAX_STRINGS = 2_000_000
_MAX_GAP = 200
# Formats that every reader has to know by number (ECMA-376 part 1, 18.8.30).
_DATE_FORMATS = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))
_LITERAL = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.|_.')
_DATE_LETTER = re.compile(r"[ymdhs]", re.IGNORECASE)
_DAY_ZERO = datetime(1899, 12, 30)
_SINCE_1904 = 1462


def read(data: bytes, out: Builder) -> None:
    """Put a workbook into `out`, a page for each sheet."""
    archive = Archive(data, out)
    out.title = core_title(archive)
    workbook = _Workbook()
    parse_xml(archive.pieces(_WORKBOOK), workbook)
    strings, styles = _Strings(), _Styles()
    if "xl/sharedStrings.xml" in archive.names:
        parse_xml(archive.pieces("xl/sharedStrings.xml"), strings)
    if "xl/styles.xml" in archive.names:
        parse_xml(archive.pieces("xl/styles.xml"), styles)
    parts = targets(archive, _WORKBOOK)
    for name, relation in workbook.sheets[: out.limits.pages]:
        part = parts.get(relation, "")
        if part in archive.names:
            sheet = Sheet(name, out)
            for row in _rows(archive, part, strings.found, styles, workbook.days_offset):
                sheet.row(row)
    if len(workbook.sheets) > out.limits.pages:
        raise FullError(f"only the first {out.limits.pages:,} of {len(workbook.sheets):,} sheets")


def _rows(archive: Archive, part: str, strings: list[str], styles: "_Styles", days_offset: int) -> Iterator[list[str]]:
    """Yield rows as their XML comes in, so that a long sheet is kept as far as it was read."""
    cells = _Cells(strings, styles, days_offset)
    for _ in feed_xml(archive.pieces(part), cells):
        yield from cells.rows
        cells.rows.clear()


class _Workbook(Handler):
    """The sheets' names and relations, in order."""

    def __init__(self) -> None:
        self.sheets: list[tuple[str, str]] = []
        self.days_offset = 0

    def start(self, name: str, attributes: Attributes, /) -> None:
        if name == "sheet":
            self.sheets.append((attributes.get("name", ""), attributes.get("id", "")))
        elif name == "workbookPr" and attributes.get("date1904") in ("1", "true"):
            self.days_offset = _SINCE_1904


class _Styles(Handler):
    """Which cell styles show a number as a date."""

    def __init__(self) -> None:
        self.are_dates: list[bool] = []
        self._date_formats = set(_DATE_FORMATS)
        self._in_cell_styles = False

    def start(self, name: str, attributes: Attributes, /) -> None:
        if name == "numFmt" and _DATE_LETTER.search(_LITERAL.sub("", attributes.get("formatCode", ""))):
            self._date_formats.add(_number(attributes.get("numFmtId")))
        elif name == "cellXfs":
            self._in_cell_styles = True
        elif name == "xf" and self._in_cell_styles:
            self.are_dates.append(_number(attributes.get("numFmtId")) in self._date_formats)

    def end(self, name: str, /) -> None:
        if name == "cellXfs":
            self._in_cell_styles = False


class _Strings(Handler):
    """The table of strings that cells refer to by number."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._parts: list[str] = []
        self._in_text = False
        self._in_phonetic = False

    def start(self, name: str, _: Attributes, /) -> None:
        if name == "si":
            self._parts = []
        self._in_phonetic = self._in_phonetic or name == "rPh"
        self._in_text = name == "t" and not self._in_phonetic

    def end(self, name: str, /) -> None:
        self._in_text = False
        if name == "rPh":
            self._in_phonetic = False
        elif name == "si":
            if len(self.found) >= _MAX_STRINGS:
                raise FullError(f"it has more than {_MAX_STRINGS:,} strings")
            self.found.append("".join(self._parts))

    def text(self, text: str, /) -> None:
        if self._in_text:
            self._parts.append(text)


class _Cells(Handler):
    """Takes cells until `rows` is emptied."""

    def __init__(self, strings: list[str], styles: _Styles, days_offset: int) -> None:
        self.rows: list[list[str]] = []
        self._strings, self._styles, self._days_offset = strings, styles, days_offset
        self._row: list[str] = []
        self._kind, self._style = "", -1
        self._parts: list[str] = []
        self._in_value = False

    def start(self, name: str, attributes: Attributes, /) -> None:
        if name == "row":
            self._row = []
        elif name == "c":
            self._kind, self._style = attributes.get("t", "n"), _number(attributes.get("s"))
            self._parts = []
            # Empty cells are left out of the file: the reference says in which column this one is.
            column = _column(attributes.get("r", ""))
            self._row.extend([""] * min(column - 1 - len(self._row), _MAX_GAP))
        self._in_value = name in ("v", "t")

    def end(self, name: str, /) -> None:
        self._in_value = False
        if name == "c":
            self._row.append(self._value("".join(self._parts)))
        elif name == "row":
            self.rows.append(self._row)

    def text(self, text: str, /) -> None:
        if self._in_value:
            self._parts.append(text)

    def _value(self, value: str) -> str:
        if self._kind == "s":
            index = _number(value)
            return self._strings[index] if 0 <= index < len(self._strings) else ""
        if self._kind == "b":
            return "TRUE" if value == "1" else "FALSE"
        if self._kind == "n" and 0 <= self._style < len(self._styles.are_dates) and self._styles.are_dates[self._style]:
            with suppress(ValueError, OverflowError):
                return _date(float(value) + self._days_offset)
        return value


def _date(days: float) -> str:
    moment = _DAY_ZERO + timedelta(minutes=round(days * 24 * 60))
    if days < 1:
        return f"{moment:%H:%M}"
    return f"{moment:%Y-%m-%d}" if days == int(days) else f"{moment:%Y-%m-%d %H:%M}"


def _column(reference: str) -> int:
    """``C7`` is in column 3; 0 where there is no reference."""
    column = 0
    for letter in reference[:3]:
        if not "A" <= letter <= "Z":
            break
        column = column * 26 + ord(letter) - 64
    return column


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else -1
