"""Which reader takes which file, and how text becomes a `ReadDocument`.

Text, Markdown and source code are read right here. Formats whose parsers can crash, hang or be made to fill the memory
are read in a child process: see `reader_process`, whose `read_file_content` takes both kinds.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

from mlx_mixer.documents.encodings import clean, decode
from mlx_mixer.documents.markdown import read_markdown
from mlx_mixer.documents.markup import read_asciidoc, read_latex, read_org, read_rst
from mlx_mixer.documents.python_source import read_python
from mlx_mixer.documents.rules import content_reason
from mlx_mixer.documents.source_code import languages
from mlx_mixer.documents.structure import ReadDocument
from mlx_mixer.documents.unreadable import UnreadableError

_MB = 1_000_000


class Reader(NamedTuple):
    """How one kind of file is read.

    `version` counts up whenever the reader or the chunker would give another result: files are then read again.
    `read` is None for a format that only the child process parses; a file of more than `max_bytes` is not read.
    """

    name: str
    version: int
    read: Callable[[str], ReadDocument] | None = None
    max_bytes: int = 20 * _MB


_LANGUAGES = {suffix: Reader(f"source-{name}", 2, read) for name, suffixes, read in languages() for suffix in suffixes}
_TEXT = Reader("text", 3, ReadDocument)
_MARKDOWN = Reader("markdown", 3, read_markdown)
_PYTHON = Reader("python", 4, read_python)
# Files with pictures in them are large while their text is not.
_LARGE = 100 * _MB
_BY_SUFFIX = {
    **_LANGUAGES,
    **dict.fromkeys((".md", ".markdown", ".mdown", ".mkd", ".mdx", ".qmd", ".rmd"), _MARKDOWN),
    **dict.fromkeys((".py", ".pyi", ".pyw"), _PYTHON),
    **dict.fromkeys((".rst", ".rest"), Reader("rst", 2, read_rst)),
    ".org": Reader("org", 2, read_org),
    **dict.fromkeys((".adoc", ".asciidoc"), Reader("asciidoc", 2, read_asciidoc)),
    **dict.fromkeys((".tex", ".latex", ".ltx"), Reader("latex", 2, read_latex)),
    ".pdf": Reader("pdf", 2, max_bytes=_LARGE),
    **dict.fromkeys((".html", ".htm", ".xhtml"), Reader("html", 2)),
    **dict.fromkeys((".docx", ".docm", ".dotx"), Reader("docx", 2, max_bytes=_LARGE)),
    **dict.fromkeys((".odt", ".ott", ".ods", ".odp"), Reader("opendocument", 2, max_bytes=_LARGE)),
    ".epub": Reader("epub", 2, max_bytes=_LARGE),
    **dict.fromkeys((".pptx", ".pptm", ".ppsx"), Reader("pptx", 2, max_bytes=_LARGE)),
    **dict.fromkeys((".xlsx", ".xlsm"), Reader("xlsx", 2, max_bytes=_LARGE)),
    ".ipynb": Reader("notebook", 2),
    ".eml": Reader("mail", 2, max_bytes=_LARGE),
    **dict.fromkeys((".mbox", ".mbx"), Reader("mailbox", 2, max_bytes=_LARGE)),
    **dict.fromkeys((".csv", ".tsv"), Reader("delimited", 2)),
    **dict.fromkeys((".json", ".geojson", ".webmanifest"), Reader("json", 2)),
    ".rtf": Reader("rtf", 2),
}
_BY_NAME = {reader.name: reader for reader in (_TEXT, *_BY_SUFFIX.values())}


def reader_for(path: bytes) -> Reader:
    """Return the reader for a file, by its suffix."""
    suffix = os.path.splitext(os.fsdecode(path))[1].lower()  # noqa: PTH122  (bytes)
    return _BY_SUFFIX.get(suffix, _TEXT)


def reader_named(name: str) -> Reader:
    """Return the reader with this name.

    Raises:
        KeyError: If there is none.
    """
    return _BY_NAME[name]


def read_document(data: bytes, reader: Reader) -> tuple[ReadDocument, str]:
    """Return the document and the name of its encoding, for a reader that reads text.

    Raises:
        UnreadableError: If the bytes are not text, hold a private key, or nothing but white space.
    """
    if reader.read is None:
        raise UnreadableError(f"{reader.name} files are read by the reader process only")
    if reason := content_reason(data):
        raise UnreadableError(reason)
    text, encoding = decode(data)
    text = clean(text)
    if not text or text.isspace():
        raise UnreadableError("empty")
    return reader.read(text), encoding
