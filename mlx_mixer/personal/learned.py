"""Which files a personal model learned from, so that it is not judged by them later.

The model's folder keeps a mark of every such file by its path and another by its text: one that was renamed or edited
is known by the other. Files that came later have none.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from mlx_mixer.checkpoint import resolve_model
from mlx_mixer.documents.known_items import StoredChunk
from mlx_mixer.errors import ModelNotFoundError
from mlx_mixer.personal.mining import Document
from mlx_mixer.personal.provenance import read_provenance

KEY = "learned_files"


class LearnedFiles:
    """Says of a document whether a model learned from it.

    Args:
        marks: See `marks_of`.
    """

    def __init__(self, marks: Iterable[str]) -> None:
        self._marks = frozenset(marks)

    def __call__(self, path: str, chunks: Sequence[StoredChunk]) -> bool:
        return not self._marks.isdisjoint(_marks(path, chunks))


def marks_of(documents: Iterable[Document]) -> list[str]:
    """The marks of some documents, as JSON values in a fixed order."""
    return sorted({mark for document in documents for mark in _marks(document.path, document.chunks)})


def learned_files(model: str) -> LearnedFiles | None:
    """What a personal model learned from; `None` for any other model, or one that does not say.

    Args:
        model: See `mlx_mixer.checkpoint.resolve_model`.
    """
    try:
        marks = read_provenance(resolve_model(model)).get(KEY)
    except ModelNotFoundError:
        return None
    return LearnedFiles(map(str, marks)) if isinstance(marks, list) else None


def _marks(path: str, chunks: Sequence[StoredChunk]) -> tuple[str, str]:
    return _digest(f"path {path}"), _digest("\n".join(("text", *(chunk.body for chunk in chunks))))


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
