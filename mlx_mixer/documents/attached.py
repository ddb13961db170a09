"""Which embedder a library is searched by: the attached one, or the one before it while that has more vectors."""

from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.meaning import pending_chunks
from mlx_mixer.documents.vectors import Meaning, TextEmbedder, VectorIndex
from mlx_mixer.errors import LibraryError


class Attached:
    """The embedder of a library, with its vectors; none at first.

    Attributes:
        current: What was attached last.
    """

    def __init__(self) -> None:
        # Embedder and vectors change in one step: threads must never see those of two models together.
        self.current: Meaning | None = None
        self._earlier: Meaning | None = None

    @property
    def fingerprint(self) -> str | None:
        return None if self.current is None else self.current.embedder.fingerprint

    def attach(self, embedder: TextEmbedder, db: Database) -> None:
        """Make it the current one; what served before goes on serving, see `serving`."""
        before = self.serving(db)
        self._earlier = before if before and before.embedder.fingerprint != embedder.fingerprint else None
        self.current = Meaning(embedder, VectorIndex(embedder.fingerprint, embedder.dims))

    def required(self) -> Meaning:
        """The current one.

        Raises:
            LibraryError: If there is none.
        """
        if self.current is None:
            raise LibraryError("no embedder is attached to this library")
        return self.current

    def serving(self, db: Database) -> Meaning | None:
        """What answers by meaning: the one before the current one until that has a vector for every passage."""
        earlier, current = self._earlier, self.current
        if earlier is None or current is None:
            return current
        if pending_chunks(db, current.embedder.fingerprint):
            return earlier
        self._earlier = None
        return current
