"""The two threads that own the document library: one answers questions, one takes documents in.

Searches overtake each other: only the newest waiting query is run. The work on documents can be stopped at any moment
and is taken up again at the next start; the library commits as it goes.
"""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_mixer.errors import MixerError
from mlx_mixer.job_thread import JobThread
from tui.chat_events import PassagesFound, QuotesChecked
from tui.chat_prompts import shown_quote
from tui.engine import EngineBusyError
from tui.events import (
    UPGRADING,
    FoundPassage,
    IndexingFinished,
    IndexingProgress,
    LibraryEvent,
    LibraryFailed,
    LibraryState,
    PassageOpened,
    SearchFinished,
)

if TYPE_CHECKING:
    from mlx_mixer.documents.embedder_choice import EmbedderChoice
    from mlx_mixer.documents.events import AddReport, Progress
    from mlx_mixer.documents.library import Library
    from mlx_mixer.documents.search import SearchResult
    from mlx_mixer.documents.vectors import TextEmbedder
    from mlx_mixer.grounding.pack import Grounding

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.1
SEARCH_LIMIT = 20
RETRY_SECONDS = 1.0
LOOK_SECONDS = 2.0

_STAGES = {"upgrade": UPGRADING, "scan": "looking", "text": "reading", "meaning": "understanding"}

Emit = Callable[[LibraryEvent], None]


class Librarian:
    """Commands in, `LibraryEvent`s out; no call waits for the work it starts.

    Args:
        open_library: Opens the library, and reports when it has to be brought forward first; called on the reading
            thread, because that takes a moment and imports SQLite helpers.
        clock: Seconds, for the time a search took.
    """

    def __init__(
        self,
        open_library: "Callable[[Callable[[Progress], None]], Library]",
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._open_library = open_library
        self._clock = clock
        self._reader = JobThread("library-reader")
        self._writer = JobThread("library-writer")
        self._emit: Emit = lambda _: None
        self._library: Library | None = None
        self._newest_search = 0
        self._choice: EmbedderChoice | None = None
        self._changes, self._looked_at = 0, 0.0
        self._stop_indexing = threading.Event()

    def start(self, emit: Emit) -> None:
        """Open the library; `emit` is called from the library's threads."""
        self._emit = emit
        self._reader.start()
        self._writer.start()
        self._ask(lambda library: self._report_state(library))

    def search(self, serial: int, query: str) -> None:
        """Search; answered by `SearchFinished` unless a newer search was asked for before this one began."""
        self._newest_search = serial
        self._ask(lambda library: self._search(library, serial, query))

    def find_similar(self, serial: int, chunk_id: int, place: str) -> None:
        """Find passages like one; answered by `SearchFinished`, as a search is."""
        self._newest_search = serial
        self._ask(lambda library: self._find_similar(library, serial, chunk_id, place))

    def open_passage(self, chunk_id: int, query: str) -> None:
        """Fetch a passage; answered by `PassageOpened`."""
        self._ask(lambda library: self._open(library, chunk_id, query))

    def find_passages(self, serial: int, question: str) -> None:
        """Look passages up for a question; answered by `PassagesFound`."""
        self._ask(lambda library: self._find_passages(library, serial, question))

    def check_quotes(self, serial: int, answer: str, grounding: "Grounding") -> None:
        """Look an answer's quotations up in the documents; answered by `QuotesChecked`."""
        self._ask(lambda library: self._check_quotes(library, serial, answer, grounding))

    def attach(self, embedder: "TextEmbedder") -> None:
        """Search by meaning from now on, and embed what has not been embedded."""
        self._ask(lambda library: library.attach(embedder))
        self._work(lambda library: self._embed_pending(library))

    def look_again(self) -> None:
        """Report what the library holds now; answered by `LibraryState`."""
        self._ask(self._report_state)

    def add(self, path: Path) -> None:
        """Take in a file or folder; reported by `IndexingProgress` and `IndexingFinished`."""
        self._stop_indexing.clear()
        self._work(lambda library: self._add(library, path))

    def stop_indexing(self) -> None:
        """Stop the work on documents after the file at hand."""
        self._stop_indexing.set()

    def stop(self, timeout_seconds: float) -> bool:
        """End both threads; return whether they ended in time."""
        self.stop_indexing()
        deadline = time.monotonic() + timeout_seconds
        ended = [thread.stop(max(0.0, deadline - time.monotonic())) for thread in (self._writer, self._reader)]
        if all(ended) and self._library is not None:
            self._library.close()
        return all(ended)

    def _ask(self, work: "Callable[[Library], None]") -> None:
        self._guarded(self._reader, work)

    def _work(self, work: "Callable[[Library], None]") -> None:
        self._guarded(self._writer, work)

    def _guarded(self, thread: JobThread, work: "Callable[[Library], None]") -> None:
        opened = self._reader.submit(self._get_library)

        def run() -> None:
            try:
                work(opened.result())
            except Exception as error:  # whatever happens to the library, the application goes on
                self._fail(error)

        thread.submit(run)

    def _get_library(self) -> "Library":
        if self._library is None:
            self._library = self._open_library(self._progress())
        return self._library

    def _fail(self, error: Exception) -> None:
        if isinstance(error, MixerError):
            self._emit(LibraryFailed(str(error)))
            return
        log.error("library: %s", type(error).__name__)
        self._emit(LibraryFailed(f"the library failed: {type(error).__name__}: {error}".splitlines()[0]))

    def _search(self, library: "Library", serial: int, query: str) -> None:
        if serial != self._newest_search:
            return
        began = self._clock()
        try:
            result = library.search(query, limit=SEARCH_LIMIT, prefix=True, grouped=True, highlight=True)
        except EngineBusyError:
            result = library.search(query, limit=SEARCH_LIMIT, prefix=True, grouped=True, words_only=True)
            self._ask_again_soon(serial, query)
        if self._is_behind(library):
            self._report_state(library)
        passages = found_passages(result)
        seconds = self._clock() - began
        self._emit(SearchFinished(serial, query, passages, seconds, result.match, result.notes))

    def _find_similar(self, library: "Library", serial: int, chunk_id: int, place: str) -> None:
        if serial != self._newest_search:
            return
        began = self._clock()
        result = library.similar_to(chunk_id, limit=SEARCH_LIMIT)
        passages = found_passages(result)
        self._emit(SearchFinished(serial, "", passages, self._clock() - began, result.match, like=place))

    def _find_passages(self, library: "Library", serial: int, question: str) -> None:
        from mlx_mixer.grounding.candidates import gather

        try:
            found = gather(library, question)
        except EngineBusyError:
            found = gather(library, question, words_only=True)
        self._emit(PassagesFound(serial, found))

    def _check_quotes(self, library: "Library", serial: int, answer: str, grounding: "Grounding") -> None:
        from mlx_mixer.grounding.verify import check_quotes

        quotes = check_quotes(answer, grounding.sources, library)
        self._emit(QuotesChecked(serial, tuple(shown_quote(quote) for quote in quotes)))

    def _ask_again_soon(self, serial: int, query: str) -> None:
        # Words are better than waiting; meaning is added when the engine has a moment.
        timer = threading.Timer(RETRY_SECONDS, self._search_again, (serial, query))
        timer.daemon = True
        timer.start()

    def _search_again(self, serial: int, query: str) -> None:
        """Repeat a search unless a newer one was asked for."""
        if serial == self._newest_search:
            self._ask(lambda library: self._search(library, serial, query))

    def _open(self, library: "Library", chunk_id: int, query: str) -> None:
        try:
            chunk = library.chunk(chunk_id, query=query, highlight=True)
        except EngineBusyError:
            chunk = library.chunk(chunk_id, query=query)
        self._emit(PassageOpened(chunk_id, chunk.text, chunk.marks, chunk.line, chunk.meaning_marks))

    def _is_behind(self, library: "Library") -> bool:
        """Whether what was last reported has changed since, by another process too."""
        if self._choice is not None and library.embedder_choice() != self._choice:
            return True
        # What is being written changes all the time, and a report has the screen search again.
        return time.monotonic() - self._looked_at >= LOOK_SECONDS and library.changes() != self._changes

    def _report_state(self, library: "Library") -> None:
        self._choice, self._changes = library.embedder_choice(), library.changes()
        self._looked_at = time.monotonic()
        status = library.status()
        with_meaning = status.chunks - status.pending
        self._emit(LibraryState(status.documents, status.chunks, with_meaning, status.embedder, status.incoming))

    def _add(self, library: "Library", path: Path) -> None:
        self._index(library, lambda progress: library.add([path], progress=progress, is_cancelled=self._is_stopped))

    def _embed_pending(self, library: "Library") -> None:
        self._index(library, lambda progress: library.embed_pending(progress, is_cancelled=self._is_stopped))

    def _is_stopped(self) -> bool:
        return self._stop_indexing.is_set() or self._writer.is_stopping

    def _index(self, library: "Library", work: "Callable[[Callable[[Progress], None]], AddReport]") -> None:
        report = work(self._progress())
        self._report_state(library)
        self._emit(IndexingFinished(_summary(report), report.cancelled))

    def _progress(self) -> "Callable[[Progress], None]":
        """Make what reports the steps of some work, now and then."""
        next_report = 0.0

        def progress(step: "Progress") -> None:
            nonlocal next_report
            now = time.monotonic()
            if now >= next_report:
                next_report = now + PROGRESS_SECONDS
                self._emit(IndexingProgress(_STAGES[step.stage], step.done, step.total or 0, step.path))

        return progress


def found_passages(result: "SearchResult") -> tuple[FoundPassage, ...]:
    """The hits of a search, each followed by the further places in its file."""
    passages: list[FoundPassage] = []
    for hit in result.hits:
        found = FoundPassage(
            hit.chunk_id,
            hit.path,
            hit.line,
            hit.heading,
            hit.snippet,
            hit.marks,
            hit.why,
            meaning_marks=hit.meaning_marks,
            match=hit.match,
            page=hit.page,
            page_kind=hit.page_kind,
        )
        passages.append(found)
        passages += [
            FoundPassage(
                place.chunk_id,
                hit.path,
                place.line,
                place.heading,
                "",
                (),
                "",
                page=place.page,
                page_kind=hit.page_kind,
                is_further=True,
            )
            for place in hit.places
        ]
    return tuple(passages)


def _summary(report: "AddReport") -> str:
    parts = [
        (report.added, "added"),
        (report.updated, "updated"),
        (report.unchanged, "unchanged"),
        (report.removed, "removed"),
        (len(report.skipped), "left out"),
        (len(report.failed), "could not be read"),
    ]
    text = ", ".join(f"{count:,} {word}" for count, word in parts if count) or "nothing to do"
    return f"{text}; stopped" if report.cancelled else text
