"""Bytes to text, without guessing games.

Byte order mark, then UTF-8, then UTF-16 by its pattern of NUL bytes, then Windows-1252, then Latin-1. Statistical
detectors misread short Western texts (they see cp1250 or UTF-16), so none is used.
"""

import codecs
import re

from mlx_mixer.documents.unreadable import UnreadableError

_MARKS = (
    # UTF-32 little-endian starts with the mark of UTF-16, so it comes first.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LINE_END = re.compile(r"\r\n?")
# NUL ends a string in many of SQLite's functions; STX and ETX are what `marks` puts around matching words.
_UNWANTED = "\x00\x02\x03"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROLS = bytes(set(range(0x20)) - set(b"\t\n\f\r\x1b\b")) + b"\x7f"
_SAMPLE = 1 << 16
# Some texts hold a few: the output of a terminal, a form feed of another kind.
_MAX_CONTROLS = 2
_MAX_CONTROL_SHARE = 0.01


def decode(data: bytes) -> tuple[str, str]:
    """Return the text and the name of its encoding; no byte order mark, line ends as they are.

    Raises:
        UnreadableError: If the bytes are not text.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _strictly(data[len(mark) :], encoding), encoding
    if utf16 := _utf16_by_pattern(data):
        return _strictly(data, utf16), utf16
    sample = data[:_SAMPLE]
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    if controls > max(_MAX_CONTROLS, _MAX_CONTROL_SHARE * len(sample)):
        raise UnreadableError("not text (binary content)")
    for encoding in ("utf-8", "cp1252"):
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1"), "latin-1"


def clean(text: str) -> str:
    r"""Make every line end ``\n``, and replace one for one what the index cannot live with."""
    if "\r" in text:
        text = _LINE_END.sub("\n", text)
    for character in _UNWANTED:
        if character in text:
            text = text.replace(character, "\ufffd")
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)


def _strictly(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableError(f"damaged text (looks like {encoding}, but is not valid)") from error


def _utf16_by_pattern(data: bytes) -> str | None:
    """Recognise UTF-16 without a mark: nearly every other byte of Western text is then zero."""
    sample = data[:_SAMPLE]
    half = len(sample) // 2
    if half < 2 or len(data) % 2 or 0 not in sample:
        return None
    even, odd = sample[0::2].count(0) / half, sample[1::2].count(0) / half
    if odd > 0.5 and even < 0.05:
        return "utf-16-le"
    if even > 0.5 and odd < 0.05:
        return "utf-16-be"
    return None
