"""Paragraphs and tables as office formats nest them, flattened into a `Builder`."""

from dataclasses import dataclass, field

from mlx_mixer.documents.formats.builder import Builder

CELL_SEPARATOR = " | "


@dataclass
class _Table:
    rows: list[list[str]] = field(default_factory=list)
    cell: list[str] | None = None


class Flow:
    """Takes starts and ends in any order, as damaged files have them too."""

    def __init__(self, out: Builder) -> None:
        self._out = out
        self._paragraphs: list[list[str]] = []
        self._tables: list[_Table] = []

    def start_paragraph(self) -> None:
        self._paragraphs.append([])

    def text(self, text: str) -> None:
        """Add text to the innermost open paragraph; outside of one there is none to add."""
        if self._paragraphs:
            self._paragraphs[-1].append(text)

    def end_paragraph(self, *, level: int = 0, is_item: bool = False) -> None:
        """End the innermost paragraph.

        Args:
            level: Of the heading it is, or 0.
            is_item: Whether it is an item of a list.
        """
        self.put("".join(self._paragraphs.pop()) if self._paragraphs else "", level=level, is_item=is_item)

    def put(self, text: str, *, level: int = 0, is_item: bool = False, is_code: bool = False) -> None:
        """Add a paragraph, a heading, an item or code where it belongs: in the present cell, or the document."""
        cell = self._tables[-1].cell if self._tables else None
        if not text or text.isspace():
            return
        if cell is not None:
            cell.append(" ".join(text.split()))
        elif is_code:
            self._out.block(text.rstrip())
        elif level:
            self._out.heading(level, text)
        elif is_item:
            self._out.line(f"- {text.strip()}")
        else:
            self._out.paragraph(text)

    def start_table(self) -> None:
        self._tables.append(_Table())

    def start_row(self) -> None:
        if self._tables:
            self._tables[-1].rows.append([])

    def start_cell(self) -> None:
        if self._tables:
            self._tables[-1].cell = []

    def end_cell(self) -> None:
        if self._tables and self._tables[-1].cell is not None:
            table = self._tables[-1]
            table.rows = table.rows or [[]]
            table.rows[-1].append(" ".join(table.cell or ()))
            table.cell = None

    def end_table(self) -> None:
        if not self._tables:
            return
        rows = [CELL_SEPARATOR.join(row) for row in self._tables.pop().rows if any(row)]
        outer = self._tables[-1].cell if self._tables else None
        if outer is not None:
            outer.append("; ".join(rows))
        elif rows:
            self._out.block("\n".join(rows))
