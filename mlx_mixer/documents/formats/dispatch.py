"""Read a file of any kind inside the child process."""

import os
from importlib import import_module
from types import MappingProxyType
from xml.parsers.expat import ExpatError

from mlx_mixer.documents.encodings import clean
from mlx_mixer.documents.formats.builder import Builder
from mlx_mixer.documents.formats.damaged import DamagedError
from mlx_mixer.documents.formats.limits import FullError, Limits
from mlx_mixer.documents.readers import Reader, read_document, reader_for
from mlx_mixer.documents.rules import content_reason, file_reason
from mlx_mixer.documents.structure import ReadDocument
from mlx_mixer.documents.unreadable import UnreadableError
from mlx_mixer.safe_text import safe_line

# Reader name -> module and function, and what people call the format.
_FORMATS = MappingProxyType(
    {
        "pdf": ("pdf", "read", "PDF"),
        "html": ("html", "read", "HTML"),
        "docx": ("docx", "read", "Word document"),
        "opendocument": ("opendocument", "read", "OpenDocument file"),
        "epub": ("epub", "read", "EPUB book"),
        "pptx": ("pptx", "read", "PowerPoint presentation"),
        "xlsx": ("xlsx", "read", "Excel workbook"),
        "notebook": ("notebook", "read", "notebook"),
        "mail": ("mail", "read", "message"),
        "mailbox": ("mail", "read_mailbox", "mailbox"),
        "delimited": ("delimited", "read", "table"),
        "json": ("json_data", "read", "JSON file"),
        "rtf": ("rtf", "read", "rich text"),
    }
)
_MAX_REASON = 160


def read_content(data: bytes, reader: Reader, limits: Limits | None = None) -> tuple[ReadDocument, str]:
    """Return the document and the name of its encoding (empty where the format settles that).

    Raises:
        UnreadableError: With the reason for people. Nothing else is raised, but `MemoryError`.
    """
    if reader.read is not None:
        return read_document(data, reader)
    out = Builder(limits, _read_attachment)
    _read_format(data, reader, out)
    document = out.document()
    if not document.text or document.text.isspace():
        raise UnreadableError("; ".join(["no text in it", *out.notes]))
    return document, out.encoding


def _read_format(data: bytes, reader: Reader, out: Builder) -> None:
    module, function, label = _FORMATS[reader.name]
    try:
        getattr(import_module(f"mlx_mixer.documents.formats.{module}"), function)(data, out)
    except FullError as error:
        out.notes.append(f"partial: {error}")
    except (UnreadableError, MemoryError):
        raise
    except Exception as error:  # whatever a parser stumbles over: the file is at fault
        if out.is_empty:
            raise UnreadableError(f"damaged {label}: {_explain(error)}") from error
        out.notes.append(f"partial: damaged {label}: {_explain(error)}")


def _read_attachment(name: str, data: bytes, out: Builder) -> None:
    """Put an attached file into `out`; one that cannot be read says why, in place of its text."""
    path = os.fsencode(clean(name).replace("/", "_"))
    reader = reader_for(path)
    reason = file_reason(path) or content_reason(data)
    if reason is None and len(data) > reader.max_bytes:
        reason = "too large"
    if reason is None:
        try:
            if reader.read is None:
                _read_format(data, reader, out)
            else:
                out.append(read_document(data, reader)[0])
        except UnreadableError as error:
            reason = str(error)
    if reason:
        out.paragraph(f"(not read: {reason})")


def _explain(error: Exception) -> str:
    # Other messages were written for the programmers of the parser.
    is_for_people = isinstance(error, DamagedError | ExpatError)
    return safe_line(str(error)).strip()[:_MAX_REASON] if is_for_people else "what is in it makes no sense"
