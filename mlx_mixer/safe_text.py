"""One character-wise sanitiser between foreign text and a terminal.

Model output, file names, documents and metadata may hold escape sequences that set the window title, write the
clipboard or reverse the reading direction. Working character by character makes it safe at any point a stream is cut,
which a pattern for whole sequences is not.
"""

import unicodedata

MAX_COMBINING_MARKS = 4

_CONTROL_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"}
_REMOVED = (
    *range(0x80, 0xA0),  # C1 controls: some terminals read 0x9b as CSI
    0x00AD,  # soft hyphen
    0x061C,
    *range(0x200B, 0x2010),  # zero-width characters and directional marks
    *range(0x2028, 0x202F),  # line and paragraph separators, bidi embeddings and overrides
    *range(0x2060, 0x2070),  # word joiner, invisible operators, bidi isolates
    0xFEFF,
    *range(0xFFF9, 0xFFFC),  # interlinear annotations
    *range(0xE0000, 0xE0080),  # tag characters
)
_TABLE: dict[int, int | None] = {**_CONTROL_PICTURES, 0x7F: 0x2421, **dict.fromkeys(_REMOVED)}
_TABLE[0x0D] = None  # a carriage return would let a later part of the line overwrite an earlier one
_LINE_TABLE = str.maketrans({"\n": " ", "\t": " "})


def safe_text(text: str) -> str:
    """Return text that a terminal shows and does not obey; tabs and newlines stay.

    Controls become visible pictures (ESC is shown as "␛"), C1, bidi, zero-width and tag characters go, lone
    surrogates (bytes of a file name that are not UTF-8) become U+FFFD, and at most four combining marks stay on one
    character.
    """
    if text.isascii() and text.isprintable():
        return text
    cleaned = text.translate(_TABLE)
    if cleaned.isascii():
        return cleaned
    cleaned = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in cleaned)
    return _limit_marks(cleaned)


def safe_line(text: str) -> str:
    """Return `safe_text` on one line: newlines and tabs become spaces."""
    return safe_text(text).translate(_LINE_TABLE)


def _limit_marks(text: str) -> str:
    kept: list[str] = []
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= MAX_COMBINING_MARKS:
            kept.append(character)
    return "".join(kept)
