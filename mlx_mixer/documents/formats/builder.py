"""Blocks in, a `ReadDocument` out: what every format has in common."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mlx_mixer.documents.encodings import clean
from mlx_mixer.documents.formats.limits import FullError, Limits
from mlx_mixer.documents.structure import PageKind, ReadDocument, Section, shortened

_MAX_HEADING = 120
# Headings nested deeper than this say nothing that a line of search results could show.
_MAX_DEPTH = 12
_SPACE = re.compile(r"\s+")


class Builder:
    """Takes headings, paragraphs, tables and pages in the order they are read.

    Args:
        limits: How much is taken; `FullError` is raised when that is reached, and what was taken until then counts.
        read_attachment: Puts a file that is attached to another, given by name and content, into a builder.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        read_attachment: "Callable[[str, bytes, Builder], None] | None" = None,
    ) -> None:
        self.limits = limits or Limits()
        self._read_attachment = read_attachment
        self._attachments = 0
        self.title = ""
        self.encoding = ""
        self.page_kind: PageKind = ""
        self.notes: list[str] = []
        self._deadline = time.monotonic() + self.limits.seconds
        self._parts: list[str] = []
        self._length = 0
        self._path: list[tuple[int, str]] = []
        self._base = 0
        self._depth = 0
        self._sections: list[Section] = []
        self._blocks: list[tuple[int, int]] = []
        self._pages: list[int] = []
        self._in_lines = False

    @property
    def is_empty(self) -> bool:
        return not self._length

    def heading(self, level: int, text: str, *, is_shown: bool = True) -> None:
        """Start a section under a heading.

        Args:
            level: Counted from 1; ends every section of this level or a deeper one.
            text: Its words.
            is_shown: Whether it is text of the document too, and not only a name for what follows.
        """
        words = heading_words(text)
        if not words:
            return
        level = self._base + max(1, min(level, _MAX_DEPTH))
        self._path = [*(entry for entry in self._path if entry[0] < level), (level, words)]
        if self._depth == 0 and self._base == 0 and level == 1 and is_shown and not self.title:
            self.title = words
        self._start_section()
        if is_shown:
            self.paragraph(text)

    def paragraph(self, text: str) -> None:
        """Add text that stands by itself; white space around it goes."""
        if text := clean(text).strip():
            self._end_lines()
            self._add(text + "\n\n")

    def line(self, text: str) -> None:
        """Add one line, with nothing between it and the next: a row of a table, say."""
        if text := clean(text).strip("\n"):
            self._in_lines = True
            self._add(text + "\n")

    def block(self, text: str) -> None:
        """Add text that should not be cut inside: code, a table."""
        if text := clean(text).strip("\n"):
            self._end_lines()
            start = self._length
            self._add(text + "\n\n")
            self._blocks.append((start, self._length))

    def page(self, kind: PageKind, name: str = "") -> None:
        """Start the next page; inside an attachment it becomes a heading."""
        self.check_time()
        self._end_lines()
        if self._depth:
            name = f"{kind} {name}".strip()
            if name != kind:
                self.heading(1, name, is_shown=False)
            return
        self.page_kind = kind
        self._pages.append(self._length)

    @contextmanager
    def under(self, heading: str) -> Iterator[None]:
        """Put everything added meanwhile under a heading, below the present one: an attachment."""
        path, base = self._path, self._base
        base_level = path[-1][0] if path else 0
        self._path = [*path, (base_level + 1, heading_words(heading) or "attachment")]
        self._base = base_level + 1
        self._depth += 1
        self._start_section()
        try:
            yield
        finally:
            self._path, self._base = path, base
            self._depth -= 1
            self._start_section()

    def attach(self, name: str, data: bytes) -> None:
        """Read a file that is attached to this one, under its name; attachments beyond the limits are only named."""
        with self.under(name):
            self.paragraph(f"Attachment: {heading_words(name)}")
            if self._read_attachment and self.may_attach():
                title, encoding = self.title, self.encoding
                try:
                    self._read_attachment(name, data, self)
                finally:
                    self.title, self.encoding = title, encoding

    def may_attach(self) -> bool:
        """Count one attachment more; whether it lies within the limits."""
        self._attachments += 1
        return self._depth <= self.limits.depth and self._attachments <= self.limits.attachments

    def append(self, document: ReadDocument) -> None:
        """Add a document that another reader made; its headings go below the present ones, its pages count if first."""
        self._end_lines()
        if document.pages and not self._depth and not self._length:
            self._pages, self.page_kind = list(document.pages), document.page_kind
        offset, path = self._length, tuple(words for _, words in self._path)
        self._sections += [Section(offset + section.start, path + section.heading) for section in document.sections]
        self._blocks += [(offset + start, offset + end) for start, end in document.blocks]
        self._add(document.text.rstrip("\n") + "\n\n")
        self._start_section()

    def check_time(self) -> None:
        """Stop reading in time, so that what was read until now is kept."""
        if time.monotonic() > self._deadline:
            raise FullError(f"the rest took longer than {self.limits.seconds:g} s")

    def document(self) -> ReadDocument:
        """Return what was added."""
        text = "".join(self._parts)
        sections: dict[int, tuple[str, ...]] = {0: ()}
        for section in self._sections:  # the last one that starts at a place is what follows there
            if section.start < len(text):
                sections[section.start] = section.heading
        return ReadDocument(
            text,
            heading_words(self.title),
            tuple(Section(start, heading) for start, heading in sorted(sections.items())),
            tuple((start, min(end, len(text))) for start, end in self._blocks if start < len(text)),
            tuple(self._pages if not self._pages or self._pages[0] == 0 else [0, *self._pages]),
            self.page_kind,
            "; ".join(self.notes)[:200],
        )

    def _end_lines(self) -> None:
        if self._in_lines:
            self._in_lines = False
            self._add("\n")

    def _start_section(self) -> None:
        self._end_lines()
        self._sections.append(Section(self._length, tuple(words for _, words in self._path)))

    def _add(self, text: str) -> None:
        room = self.limits.characters - self._length
        self._parts.append(text[:room])
        self._length += min(len(text), room)
        if len(text) > room:
            raise FullError(f"only the first {self.limits.characters / 1e6:g} million characters")


def heading_words(text: str) -> str:
    """A heading on one line, at most 120 characters."""
    return shortened(_SPACE.sub(" ", clean(text[:1000])), _MAX_HEADING)
