"""Every passage of a library as text, for those who learn from it."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from mlx_mixer.documents.database import open_database
from mlx_mixer.documents.export import export_rows
from mlx_mixer.documents.failures import FAILURES, failure
from mlx_mixer.documents.prepare import embedding_text


def indexed_texts(path: Path) -> Iterator[str]:
    """Yield every passage that can be found in a library, with the headings it lies under, as it is embedded.

    Args:
        path: The library's file.

    Raises:
        LibraryError: If it is not a library, was written by a newer version, or is damaged.
    """
    with closing(open_database(path)) as db:
        try:
            for row in export_rows(db, None):
                yield embedding_text(row["heading"], row["text"])
        except FAILURES as error:
            raise failure(path, error) from error
