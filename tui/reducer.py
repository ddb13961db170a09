"""How an event changes what the application knows. Pure, so that it can be tested without a screen."""

from tui.events import (
    UPGRADING,
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
            session.model_path, session.model_state = path, "loading"
        case ModelReady(path=path, context_length=context_length):
            session.model_path = session.loaded_path = path
            session.model_state, session.context_length = "ready", context_length
        case ModelFailed() if session.context_length:
            session.model_path, session.model_state = session.loaded_path, "ready"
        case ModelFailed():
            session.model_state = "failed"
        case EmbedderReady():
            session.meaning = "ready"
        case EmbedderFailed():
            session.meaning = "failed"
        case LibraryState():
            session.library = event
            if session.indexing is not None and session.indexing.stage == UPGRADING:
                session.indexing = None
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


def needs_bundled_model(session: Session, event: EngineEvent | LibraryEvent) -> bool:
    """Whether the chosen model failed and there is none that could write in its place."""
    return isinstance(event, ModelFailed) and event.path is not None and session.model_state == "failed"
