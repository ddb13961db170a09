"""One line about the library: what is in it, how far it is understood, and what is being done to it."""

from textual.content import Content

from tui.session import Session
from tui.widgets.meter import meter, share
from tui.widgets.plain import plain, plain_line


def library_line(session: Session) -> Content:
    """Return the state of the library, or the progress of the work on it."""
    if session.indexing is not None:
        work = session.indexing
        line = plain_line(f"● {work.stage} ", "$accent")
        count = f"{work.done:,}"
        if work.total:
            line += meter(work.done, work.total, cells=12)
            count = f" {work.done:,} / {work.total:,}"
        return line + plain_line(f"{count}  {work.label}", "$text-muted")
    if session.library is None:
        return plain("◌ opening the library", "$text-muted")
    return plain(state_text(session), "$text-muted")


def state_text(session: Session) -> str:
    """Return how many documents there are and which share can be found by words and by meaning."""
    library = session.library
    if library is None or not library.documents:
        return "no documents yet"
    files = "1 document" if library.documents == 1 else f"{library.documents:,} documents"
    meaning = "off" if session.meaning == "failed" else share(library.with_meaning, library.passages)
    return f"{files} · text 100 % · meaning {meaning}"
