"""Markdown into sections: ATX and setext headings, code fences, YAML front matter. Nothing else is interpreted."""

import re

from mlx_mixer.documents.structure import ReadDocument, Section, shortened

# Lines that may be a fence, a heading or the line under one. Few lines are, and this finds them quickly.
_SPECIAL_LINE = re.compile(r"\n {0,3}(?:(`{3,}|~{3,})|#|=|-++[ \t]*+(?=\n|\Z))")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_NOT_PLAIN = re.compile(r"    |\t| {0,3}([-*+>|]|\d+[.)])")
_LINK = re.compile(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])")
_FRONT_TITLE = re.compile(r"title:[ \t]*(.+?)[ \t]*$", re.IGNORECASE)
_MAX_HEADING = 120
_MAX_FRONT_LINES = 200
# Longer lines are no headings; the patterns above would take quadratic time on some.
_MAX_LINE = 1000


def read_markdown(text: str) -> ReadDocument:
    """Split at headings; a section's heading is the path of headings above it, its own included."""
    first, title = _front_matter(text)
    headings, blocks = _headings_and_fences(text, first)
    path: list[tuple[int, str]] = []
    sections = [Section(0)]
    for start, level, words in headings:
        path = [*(entry for entry in path if entry[0] < level), (level, words)]
        section = Section(start, tuple(heading for _, heading in path))
        sections[-1:] = [section] if start == 0 else [sections[-1], section]
    if not title:
        title = next((words for _, level, words in headings if level == 1), "")
    return ReadDocument(text, title, tuple(sections), tuple(blocks))


def _front_matter(text: str) -> tuple[int, str]:
    """Return the offset of the first line after the front matter, and the title it names."""
    if not text.startswith("---"):
        return 0, ""
    lines = text.split("\n", _MAX_FRONT_LINES)[:_MAX_FRONT_LINES]
    end = next((i for i, line in enumerate(lines) if i and line.rstrip() in ("---", "...")), None)
    if end is None or lines[0].rstrip() != "---":
        return 0, ""
    matches = (_FRONT_TITLE.match(line) for line in lines[1:end] if len(line) <= _MAX_LINE)
    title = next((match[1].strip("\"' ") for match in matches if match), "")
    return sum(len(line) + 1 for line in lines[: end + 1]), shortened(title, _MAX_HEADING)


def _headings_and_fences(text: str, first: int) -> tuple[list[tuple[int, int, str]], list[tuple[int, int]]]:
    """Find ``(offset, level, words)`` of every heading and ``(start, end)`` of every code fence from `first` on."""
    headings: list[tuple[int, int, str]] = []
    blocks: list[tuple[int, int]] = []
    fence, fence_start = "", 0
    taken = first  # lines before this are no text that could be underlined
    for match in _SPECIAL_LINE.finditer("\n" + text):
        start = match.start()  # of the line: the pattern starts with the line end before it
        if start < first:
            continue
        end = text.find("\n", start)
        line = text[start : end if end >= 0 else None]
        if fence:
            if match[1] and match[1].startswith(fence) and not line[match.end() - start - 1 :].strip():
                blocks.append((fence_start, start + len(line) + 1))
                fence, taken = "", start + len(line) + 1
        elif match[1]:
            fence, fence_start = match[1], start
        elif len(line) > _MAX_LINE:
            pass
        elif heading := _ATX.match(line):
            headings.append((start, len(heading[1]), _plain(heading[2] or "")))
            taken = start + len(line) + 1
        elif (underline := _SETEXT.match(line)) and (over := _plain_line_above(text, start, taken)):
            headings.append((start - len(over) - 1, 1 if underline[1][0] == "=" else 2, _plain(over)))
            taken = start + len(line) + 1
    return headings, blocks


def _plain_line_above(text: str, start: int, taken: int) -> str:
    """The line above `start` if it can be underlined: no list item, quotation, table row or indented code."""
    above = text.rfind("\n", 0, max(start - 1, 0)) + 1
    if start <= taken or above < taken or start - above > _MAX_LINE + 1:
        return ""
    line = text[above : start - 1]
    return line if line.strip() and not _NOT_PLAIN.match(line) else ""


def _plain(heading: str) -> str:
    """Take links and emphasis out of a heading."""
    words = _LINK.sub(r"\1", heading) if "[" in heading else heading
    return shortened(words.replace("*", "").replace("`", ""), _MAX_HEADING)
