"""How an event changes what the application knows. Pure, so that it can be tested without a screen."""

from tui.events import (
    EmbedderFailed,
    EmbedderReady,
    EngineEvent,
    IndexingFinished,
    IndexingProgress,
    LibraryEvent,
    LibraryFailed,
    LibraryState,
    ModelFailed,
    ModelLoading,
    ModelReady,
)
from tui.session import Session


def apply_event(session: Session, event: EngineEvent | LibraryEvent) -> None:
    """Bring the session up to date with an event."""
    match event:
        case ModelLoading(path=path):
            session.model_path, session.model_state, session.model_problem = path, "loading", ""
        case ModelReady(path=path, context_length=context_length):
            session.model_path, session.model_state, session.context_length = path, "ready", context_length
        case ModelFailed(reason=reason):
            session.model_state, session.model_problem = "failed", reason
        case EmbedderReady():
            session.meaning = "ready"
        case EmbedderFailed():
            session.meaning = "failed"
        case LibraryState():
            session.library = event
        case IndexingProgress():
            session.indexing, session.library_note = event, ""
        case IndexingFinished(summary=summary):
            session.indexing, session.library_note = None, summary
        case LibraryFailed():
            session.indexing = None
        case _:
            pass


def begins_meaning(event: EngineEvent | LibraryEvent) -> bool:
    """Whether the engine has just become free to load what search by meaning needs."""
    return isinstance(event, ModelReady | ModelFailed)
