"""Which embedder the engine loads next: the library's own, and another one once that is to take over."""

from mlx_mixer.documents.embedder_names import BUNDLED
from tui.events import EmbedderFailed, EmbedderReady, EngineEvent, LibraryEvent
from tui.reducer import begins_meaning
from tui.session import Session


class EmbedderFollower:
    """Says what to load, one model at a time, after every event.

    The library's present embedder comes first, so that searches go by what there is; then the one that is taking over,
    which the library lets answer once it knows every passage. Later changes, by another process too, are followed.

    Args:
        session: What the application knows.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._is_free = False
        self._is_loading = False
        self._asked: str | None = None
        self._has_any = False

    def next_after(self, event: EngineEvent | LibraryEvent) -> str | None:
        """Name of the model to load now, or None."""
        self._is_free = self._is_free or begins_meaning(event)
        failed = isinstance(event, EmbedderFailed)
        if failed or isinstance(event, EmbedderReady):
            self._is_loading = False
            self._has_any = self._has_any or not failed
        library = self._session.library
        if not self._is_free or self._is_loading or library is None:
            return None
        if failed and not self._has_any and self._asked != BUNDLED:
            wanted = BUNDLED  # searching by another model is better than by none
        elif failed:
            return None
        else:
            wanted = library.embedder if self._asked is None else library.incoming or library.embedder
        if wanted == self._asked or (self._asked == BUNDLED and not self._has_any):
            return None
        self._asked, self._is_loading = wanted, True
        return wanted
