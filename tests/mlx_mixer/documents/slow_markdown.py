"""Markdown into sections line by line: slow, obvious, and what the quick reader is compared with."""

import re

from mlx_mixer.documents.markdown import (
    _ATX,
    _FRONT_TITLE,
    _MAX_HEADING,
    _MAX_LINE,
    _NOT_PLAIN,
    _SETEXT,
    _plain,
)
from mlx_mixer.documents.structure import ReadDocument, Section

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


def read_markdown_slowly(text: str) -> ReadDocument:
    """Split at headings; a section's heading is the path of headings above it, its own included."""
    lines = text.split("\n")
    first, title = _front_matter(lines)
    headings, blocks = _headings_and_fences(lines, first)
    path: list[tuple[int, str]] = []
    sections = [Section(0)]
    for start, level, words in headings:
        path = [entry for entry in path if entry[0] < level] + [(level, words)]
        section = Section(start, tuple(heading for _, heading in path))
        sections[-1:] = [section] if start == 0 else [sections[-1], section]
    if not title:
        title = next((words for _, level, words in headings if level == 1), "")
    return ReadDocument(text, title, tuple(sections), tuple(blocks))


def _front_matter(lines: list[str]) -> tuple[int, str]:
    """Return the index of the first line after the front matter, and the title it names."""
    if lines[0].rstrip() != "---":
        return 0, ""
    end = next((i for i, line in enumerate(lines[1:200], 1) if line.rstrip() in ("---", "...")), None)
    if end is None:
        return 0, ""
    matches = (_FRONT_TITLE.match(line) for line in lines[1:end] if len(line) <= _MAX_LINE)
    title = next((match[1].strip("\"' ") for match in matches if match), "")
    return end + 1, title[:_MAX_HEADING]


def _headings_and_fences(lines: list[str], first: int) -> tuple[list[tuple[int, int, str]], list[tuple[int, int]]]:
    """Find ``(offset, level, words)`` of every heading and ``(start, end)`` of every code fence."""
    headings: list[tuple[int, int, str]] = []
    blocks: list[tuple[int, int]] = []
    fence, fence_start, offset, previous = "", 0, 0, ""
    for number, line in enumerate(lines):
        end = offset + len(line) + 1
        fenced = _FENCE.match(line)
        if fence:
            if fenced and fenced[1].startswith(fence) and not line[fenced.end() :].strip():
                blocks.append((fence_start, end))
                fence = ""
            previous = ""
        elif number < first:
            pass
        elif fenced:
            fence, fence_start, previous = fenced[1], offset, ""
        elif len(line) <= _MAX_LINE and (heading := _ATX.match(line)):
            headings.append((offset, len(heading[1]), _plain(heading[2] or "")))
            previous = ""
        elif previous and (underline := _SETEXT.match(line)):
            headings.append((offset - len(previous) - 1, 1 if underline[1][0] == "=" else 2, _plain(previous)))
            previous = ""
        else:
            # Only a line of plain text can be underlined: not a list item, a quotation, a table row or indented code.
            is_plain = line.strip() and len(line) <= _MAX_LINE and not _NOT_PLAIN.match(line)
            previous = line if is_plain else ""
        offset = end
    return headings, blocks
