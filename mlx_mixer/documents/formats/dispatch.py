"""Read a file of any kind inside the child process."""

from importlib import import_module
from types import MappingProxyType

from mlx_mixer.documents.formats.builder import Builder, FullError
from mlx_mixer.documents.formats.limits import Limits
from mlx_mixer.documents.readers import Reader, read_document
from mlx_mixer.documents.structure import ReadDocument
from mlx_mixer.documents.unreadable import UnreadableError
from mlx_mixer.safe_text import safe_line

# Reader name -> module, and what people call the format.
_FORMATS = MappingProxyType(
    {
        "pdf": ("pdf", "PDF"),
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
    out = Builder(limits)
    module, label = _FORMATS[reader.name]
    try:
        import_module(f"mlx_mixer.documents.formats.{module}").read(data, out)
    except FullError as error:
        out.notes.append(f"partial: {error}")
    except (UnreadableError, MemoryError):
        raise
    except Exception as error:  # whatever a parser stumbles over: the file is at fault
        if out.is_empty:
            raise UnreadableError(f"damaged {label}: {_explain(error)}") from error
        out.notes.append(f"partial: damaged {label}: {_explain(error)}")
    document = out.document()
    if not document.text or document.text.isspace():
        raise UnreadableError("; ".join(["no text in it", *out.notes]))
    return document, out.encoding


def _explain(error: Exception) -> str:
    words = safe_line(str(error)).strip() or type(error).__name__
    return words[:_MAX_REASON]
