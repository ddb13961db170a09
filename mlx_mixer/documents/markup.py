"""Other markup into sections: reStructuredText, Org, AsciiDoc, LaTeX. The lines of the text are those of the file."""

import re

from mlx_mixer.documents.structure import ReadDocument, Section, shortened

_MAX_HEADING = 120
_MAX_LINE = 1000
# Any punctuation, at least three times, may underline a title (Docutils, section titles).
_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1{2,}[ \t]*$")
_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_RST_ROLE = re.compile(r":[\w:.+-]{1,60}:`([^`\n]{1,200})`|`{1,2}([^`\n]{1,200})`{1,2}_{0,2}")

# Headings that say their level by the length of a mark at the start of the line.
_ORG_HEADING = re.compile(
    r"^(\*{1,8})[ \t]+(?:(?:TODO|DONE)[ \t]+)?([^\n]{1,300}?)(?:[ \t]+:[\w@:]{1,100}:)?[ \t]*$", re.MULTILINE
)
_ORG_TITLE = re.compile(r"^#\+title:[ \t]*([^\n]{1,300})", re.MULTILINE | re.IGNORECASE)
_ASCIIDOC_HEADING = re.compile(r"^(={1,6})[ \t]+([^\n]{1,300}?)[ \t]*$", re.MULTILINE)

_LATEX_LEVELS = {"part": 1, "chapter": 2, "section": 3, "subsection": 4, "subsubsection": 5, "paragraph": 6}
_LATEX_HEADING = re.compile(
    r"^[ \t]{0,40}\\(part|chapter|section|subsection|subsubsection|paragraph)\*?(?:\[[^\]\n]{0,200}\])?"
    r"\{((?:[^{}\n]|\{[^{}\n]{0,200}\}){1,300})\}",
    re.MULTILINE,
)
_LATEX_TITLE = re.compile(r"\\title\{((?:[^{}\n]|\{[^{}\n]{0,200}\}){1,300})\}")
_LATEX_COMMENT = re.compile(r"(?<!\\)%[^\n]*")
# What only arranges: its arguments are not text.
_LATEX_SILENT = re.compile(
    r"\\(?:documentclass|usepackage|label|begin|end|vspace|hspace|includegraphics|bibliographystyle|input|include"
    r"|setlength|newcommand|renewcommand|pagestyle|thispagestyle|bibliography|graphicspath)\*?"
    r"(?:\[[^\]\n]{0,300}\]|\{[^{}\n]{0,300}\}){0,6}"
)
_LATEX_COMMAND = re.compile(r"\\[a-zA-Z]{1,40}\*?(?:\[[^\]\n]{0,200}\])? ?")
_LATEX_SIGN = re.compile(r"\\([%&$#_{} ])|\\\\(?:\[[^\]\n]{0,40}\])?|[{}]|(?<!\\)~|---?|``|''")
_LATEX_SIGNS = {"~": " ", "--": "–", "---": "—", "``": "“", "''": "”"}


def read_rst(text: str) -> ReadDocument:
    """Split at titles; which adornment is of which level is known by the order they first appear in."""
    lines = text.split("\n")
    sections: dict[int, tuple[str, ...]] = {0: ()}
    levels: list[tuple[str, bool]] = []  # (character, whether there is a line above too)
    path: tuple[str, ...] = ()
    title, offset = "", 0
    for line, under, over in zip(lines, lines[1:], ["", *lines], strict=False):
        if under and under[0] in _PUNCTUATION and _is_title(line, under, over):
            is_overlined = _is_adornment(over) and over.rstrip() == under.rstrip()
            kind = (under[0], is_overlined)
            if kind not in levels:
                levels.append(kind)
            words = shortened(_RST_ROLE.sub(lambda match: match[1] or match[2], line), _MAX_HEADING)
            path = (*path[: levels.index(kind)], words)
            title = title or words
            sections[offset - len(over) - 1 if is_overlined else offset] = path
        offset += len(line) + 1
    return _document(text, title, sections)


def _is_title(line: str, under: str, over: str) -> bool:
    if not line.strip() or len(line) > _MAX_LINE or not _is_adornment(under) or _is_adornment(line):
        return False
    # A title stands at the margin unless a line above it says where it starts, and its line is about as long as it.
    is_overlined = over.rstrip() == under.rstrip()
    return (is_overlined or not line[0].isspace()) and len(under.rstrip()) >= min(len(line.rstrip()), 4)


def _is_adornment(line: str) -> bool:
    return len(line) <= _MAX_LINE and bool(_ADORNMENT.match(line))


def _document(text: str, title: str, sections: dict[int, tuple[str, ...]]) -> ReadDocument:
    kept = (Section(start, heading) for start, heading in sorted(sections.items()) if start < len(text) or not start)
    return ReadDocument(text, shortened(title, _MAX_HEADING), tuple(kept))


def read_org(text: str) -> ReadDocument:
    """Split an Org file at its headlines, without their keywords and tags."""
    title = _ORG_TITLE.search(text)
    return _by_marks(text, _ORG_HEADING, title[1].strip() if title else "")


def read_asciidoc(text: str) -> ReadDocument:
    """Split an AsciiDoc file at its titles."""
    return _by_marks(text, _ASCIIDOC_HEADING, "")


def _by_marks(text: str, pattern: "re.Pattern[str]", title: str) -> ReadDocument:
    sections: dict[int, tuple[str, ...]] = {0: ()}
    path: list[tuple[int, str]] = []
    for match in pattern.finditer(text):
        level, words = len(match[1]), shortened(match[2], _MAX_HEADING)
        path = [*(entry for entry in path if entry[0] < level), (level, words)]
        sections[match.start()] = tuple(heading for _, heading in path)
        title = title or words
    return _document(text, title, sections)


def read_latex(text: str) -> ReadDocument:
    """Split at sectioning commands; other commands go, what they set in type stays."""
    found = _LATEX_TITLE.search(text)
    title = _plain_latex(found[1]) if found else ""
    text = _LATEX_COMMENT.sub("", text)
    parts: list[str] = []
    sections: dict[int, tuple[str, ...]] = {0: ()}
    path: list[tuple[int, str]] = []
    length = position = 0
    for match in _LATEX_HEADING.finditer(text):
        before = _plain_latex(text[position : match.start()])
        length += len(before)
        words = shortened(_plain_latex(match[2]), _MAX_HEADING)
        level = _LATEX_LEVELS[match[1]]
        path = [*(entry for entry in path if entry[0] < level), (level, words)]
        sections[length] = tuple(heading for _, heading in path if heading)
        parts += [before, words]
        length += len(words)
        position = match.end()
    parts.append(_plain_latex(text[position:]))
    return _document("".join(parts), title, sections)


def _plain_latex(text: str) -> str:
    text = _LATEX_SILENT.sub("", text)
    # Signs first would make commands of what they leave behind.
    text = _LATEX_COMMAND.sub("", text)
    return _LATEX_SIGN.sub(lambda match: match[1] or _LATEX_SIGNS.get(match[0], ""), text)
