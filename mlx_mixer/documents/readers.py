"""Raw bytes to a `ReadDocument`, by the kind of file."""

import os
import re
from collections.abc import Callable
from typing import NamedTuple

from mlx_mixer.documents.encodings import decode
from mlx_mixer.documents.markdown import read_markdown
from mlx_mixer.documents.python_source import read_python
from mlx_mixer.documents.rules import content_reason
from mlx_mixer.documents.structure import ReadDocument
from mlx_mixer.documents.unreadable import UnreadableError


class Reader(NamedTuple):
    """How one kind of file is read.

    `version` counts up whenever the reader or the chunker would give another result: files are then read again.
    """

    name: str
    version: int
    read: Callable[[str], ReadDocument]


_TEXT = Reader("text", 1, ReadDocument)
_MARKDOWN = Reader("markdown", 1, read_markdown)
_PYTHON = Reader("python", 1, read_python)
_BY_SUFFIX = {
    **dict.fromkeys((".md", ".markdown", ".mdown", ".mkd", ".mdx", ".qmd", ".rmd"), _MARKDOWN),
    **dict.fromkeys((".py", ".pyi", ".pyw"), _PYTHON),
}
_LINE_END = re.compile(r"\r\n?")
# NUL ends a string in many of SQLite's functions; STX and ETX are what `marks` puts around matching words.
_CONTROLS = "\x00\x02\x03"


def reader_for(path: bytes) -> Reader:
    """Return the reader for a file, by its suffix."""
    suffix = os.path.splitext(os.fsdecode(path))[1].lower()  # noqa: PTH122  (bytes)
    return _BY_SUFFIX.get(suffix, _TEXT)


def read_document(data: bytes, reader: Reader) -> tuple[ReadDocument, str]:
    """Return the document and the name of its encoding.

    Raises:
        UnreadableError: If the bytes are not text, hold a private key, or nothing but white space.
    """
    if reason := content_reason(data):
        raise UnreadableError(reason)
    text, encoding = decode(data)
    text = _LINE_END.sub("\n", text)
    for control in _CONTROLS:
        text = text.replace(control, "\ufffd")
    if not text.strip():
        raise UnreadableError("empty")
    return reader.read(text), encoding
