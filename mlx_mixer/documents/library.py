"""The library: the one door to a user's documents."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from mlx_mixer.documents import store
from mlx_mixer.documents.attached import Attached
from mlx_mixer.documents.backup import backups
from mlx_mixer.documents.catalogue import (
    ChunkRow,
    DocumentRow,
    LibraryStatus,
    chunk_row,
    document_rows,
    left_out,
    library_status,
)
from mlx_mixer.documents.check import MOST_ITEMS, CheckProgress, CheckReport, check_library
from mlx_mixer.documents.collect import check_and_back_up, collect_garbage, give_back_room
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.database import ThreadConnections
from mlx_mixer.documents.embedder_choice import (
    EmbedderChoice,
    Incoming,
    finish_taking_over,
    store_incoming,
    stored_choice,
)
from mlx_mixer.documents.events import AddReport, FileNote, Progress, Tally
from mlx_mixer.documents.export import Format, Precision, count_rows, export_rows, write_table
from mlx_mixer.documents.failures import FAILURES, failure
from mlx_mixer.documents.filters import Filters
from mlx_mixer.documents.frequency import TermCounts
from mlx_mixer.documents.gate import Gate, gated_weights, store_gate, stored_gate
from mlx_mixer.documents.highlight import Explaining, meaning_spans
from mlx_mixer.documents.indexing import TextStage
from mlx_mixer.documents.known_items import IsLearned
from mlx_mixer.documents.lexical import Place
from mlx_mixer.documents.lock import writer_lock
from mlx_mixer.documents.meaning import embed_pending
from mlx_mixer.documents.passages import (
    FileState,
    Passage,
    StoredDocument,
    file_state,
    passages_around,
    stored_document,
)
from mlx_mixer.documents.preparing import Preparer
from mlx_mixer.documents.query import Query, parse_query
from mlx_mixer.documents.reader_process import ReaderProcess
from mlx_mixer.documents.search import Reorder, SearchResult, Settings, search, search_similar
from mlx_mixer.documents.settings import LAST_CHECK, set_setting
from mlx_mixer.documents.similar import place_of, place_of_chunk
from mlx_mixer.documents.transactions import write_transaction
from mlx_mixer.documents.vectors import TextEmbedder
from mlx_mixer.errors import LibraryError
from mlx_mixer.paths import default_paths

AnyPath = str | bytes | os.PathLike[str]


def _no_progress(_: Progress) -> None:
    pass


def _no_counts(_done: int, _total: int) -> None:
    pass


def _never() -> bool:
    return False


class Library:
    """Documents in one SQLite file, searchable by words and, where an embedder is attached, by meaning.

    May be used from several threads; each gets its own connection. One writer at a time, across processes; reading
    goes on meanwhile.

    Args:
        path: The file, created if missing; the user's own library by default.
        embedder: What turns text into vectors; None searches by words until one is attached.
        progress: Called while the library of an earlier version is brought forward, before anything else can be done.

    Raises:
        LibraryError: If the file is not a library, or was written by a newer version.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        embedder: TextEmbedder | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.path = Path(path) if path is not None else default_paths().library
        self._connections = ThreadConnections(self.path, report=progress or _no_progress)
        self._counts = TermCounts()
        self._attached = Attached()
        if embedder is not None:
            self.attach(embedder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every thread's connection."""
        self._connections.close()

    def attach(self, embedder: TextEmbedder) -> None:
        """Search by meaning from now on.

        An embedder that was attached before goes on answering until the new one has a vector for every document; its
        own vectors stay in the file for a week after it was last used.
        """
        with self._reading() as db:
            self._attached.attach(embedder, db)

    def embedder_choice(self) -> EmbedderChoice:
        """Return which models this library is to be embedded by; the caller loads and attaches them."""
        with self._reading() as db:
            return stored_choice(db)

    def take_over(self, name: str, embedder: TextEmbedder) -> None:
        """Attach an embedder that is to replace the library's own once it has a vector for every passage.

        `embed_pending`, here or in another process and as often as it is interrupted, brings that about. Until then
        searches go by the old one.

        Args:
            name: What its model is called; see `mlx_mixer.documents.embedder_choice`.
            embedder: The embedder.

        Raises:
            LibraryError: If another process is writing.
        """
        with self._writing() as db, write_transaction(db):
            store_incoming(db, Incoming(name, embedder.fingerprint))
        self.attach(embedder)

    def add(
        self,
        paths: Iterable[AnyPath],
        *,
        progress: Callable[[Progress], None] | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> AddReport:
        """Bring files and folders up to date: first their words, then, with an embedder, their meaning.

        Files that did not change are not opened. What is committed stays, whatever happens after.

        Args:
            paths: Files and folders; those that were added before are looked through again.
            progress: Called from this thread as the work goes on.
            is_cancelled: Asked between files and batches; True stops there.

        Raises:
            LibraryError: If another process is writing to this library, or its file is damaged.
        """
        tally = Tally()
        progress, is_cancelled = progress or _no_progress, is_cancelled or _never
        with self._writing() as db, ReaderProcess() as process, Preparer(process) as preparer:
            stage = TextStage(db, tally, preparer, progress=progress, is_cancelled=is_cancelled)
            for path in paths:
                if not tally.cancelled:
                    stage.run(_absolute(os.fsencode(path)))
            self._embed(db, tally, progress, is_cancelled)
            collect_garbage(db, int(time.time()), self._attached.fingerprint)
            if not tally.cancelled:
                check_and_back_up(db, self.path, int(time.time()))
        return tally.report()

    def refresh(
        self,
        paths: Iterable[AnyPath] | None = None,
        *,
        progress: Callable[[Progress], None] | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> AddReport:
        """`add` everything that was added before, again.

        Args:
            paths: Look at these parts of it only; what no walk comes to is passed over.
            progress: As for `add`.
            is_cancelled: As for `add`.
        """
        roots = self.root_paths()
        if paths is not None:
            with self._reading() as db:
                roots = store.reached_paths(db, [_absolute(os.fsencode(path)) for path in paths])
        return self.add(roots, progress=progress, is_cancelled=is_cancelled)

    def retry(
        self,
        paths: Iterable[AnyPath] = (),
        *,
        progress: Callable[[Progress], None] | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> AddReport:
        """Read again what could not be read before, at these paths and below, or everywhere; then as `refresh`."""
        chosen = [_absolute(os.fsencode(path)) for path in paths]
        with self._writing() as db, write_transaction(db):
            for path in chosen or [b"/"]:
                store.judge_again(db, path)
        return self.refresh(chosen or None, progress=progress, is_cancelled=is_cancelled)

    def root_paths(self) -> list[bytes]:
        """The files and folders that were added, as the system names them."""
        with self._reading() as db:
            return [row[0] for row in db.execute("SELECT path FROM roots ORDER BY path")]

    def embed_pending(
        self,
        progress: Callable[[Progress], None] | None = None,
        *,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> AddReport:
        """Embed what has no vector yet, without looking at files.

        Raises:
            LibraryError: If no embedder is attached, or another process is writing.
        """
        self._attached.required()
        tally = Tally()
        with self._writing() as db:
            self._embed(db, tally, progress, is_cancelled)
        return tally.report()

    def search(
        self,
        query: str,
        *,
        limit: int = 10,
        prefix: bool = False,
        words_only: bool = False,
        grouped: bool = False,
        highlight: bool = False,
        filters: Filters | None = None,
        reorder: Reorder | None = None,
    ) -> SearchResult:
        """Find places by what the user typed (see `mlx_mixer.documents.query` for the grammar).

        Args:
            query: Any text; there are no syntax errors.
            limit: How many hits at most.
            prefix: Whether the last word may be unfinished, for search while typing.
            words_only: Leave meaning out even with an embedder.
            grouped: One hit for each file, with its further places, in place of up to three hits.
            highlight: Mark words that are near in meaning too.
            filters: Conditions on files, beside those in the query.
            reorder: See `mlx_mixer.documents.rerank`.
        """
        parsed = parse_query(query, prefix=prefix)
        parsed = replace(parsed, filters=parsed.filters & (filters or Filters()))
        with self._reading() as db:
            leg = None if words_only else self._attached.serving(db)
            weights = gated_weights(db, None if leg is None else leg.embedder.fingerprint)
            settings = Settings(weights=weights, grouped=grouped, highlight=highlight)
            return search(
                db,
                parsed,
                limit=limit,
                meaning=leg if weights.has_meaning else None,
                settings=settings,
                counts=self._counts,
                reorder=reorder,
            )

    def similar(
        self,
        path: AnyPath,
        line: int | None = None,
        *,
        limit: int = 10,
        filters: Filters | None = None,
    ) -> SearchResult:
        """Find passages of other files that are like one of this file, by their stored vectors; one hit for each file.

        Args:
            path: A file in the library.
            line: A line of the passage; the file's first passage by default.
            limit: How many hits at most.
            filters: Conditions on the files that are looked at.

        Raises:
            LibraryError: If the file is not in the library, or no embedder is attached, or it is not embedded yet.
        """
        with self._reading() as db:
            return self._similar(db, place_of(db, _absolute(os.fsencode(path)), line), limit, filters)

    def similar_to(self, chunk_id: int, *, limit: int = 10) -> SearchResult:
        """As `similar`, for the passage of a hit."""
        with self._reading() as db:
            return self._similar(db, place_of_chunk(db, chunk_id), limit, None)

    def check(
        self,
        *,
        most: int = MOST_ITEMS,
        is_learned: IsLearned | None = None,
        progress: CheckProgress | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> CheckReport:
        """Measure on this library's own headings and docstrings whether meaning helps; nothing is stored.

        Args:
            most: How many known items to look for at most.
            is_learned: Says which documents the embedder has learned from; nothing is asked about those.
            progress: Called with the number of items done and of all.
            is_cancelled: Asked between items; True stops there.

        Raises:
            LibraryError: If no embedder is attached, too little is embedded, or the library has too few items.
        """
        meaning = self._attached.required()
        with self._reading() as db:
            return check_library(
                db,
                meaning,
                most=most,
                is_learned=is_learned,
                progress=progress or _no_counts,
                is_cancelled=is_cancelled or _never,
            )

    def gate(self) -> Gate | None:
        """Return what the last check with the attached embedder decided, if there was one."""
        fingerprint = self._attached.fingerprint
        with self._reading() as db:
            return None if fingerprint is None else stored_gate(db, fingerprint)

    def set_gate(self, gate: Gate | None) -> None:
        """Let searches go by the decision of a check from now on, or by the shipped weights.

        Raises:
            LibraryError: If no embedder is attached, or another process is writing.
        """
        fingerprint = self._attached.required().embedder.fingerprint
        with self._writing() as db, write_transaction(db):
            store_gate(db, fingerprint, gate)

    def chunk(self, chunk_id: int, *, query: str = "", highlight: bool = False) -> ChunkRow:
        """Return a hit's whole passage, with the query's words marked.

        Args:
            chunk_id: That of the hit.
            query: What was searched for.
            highlight: Mark words that are near in meaning too.

        Raises:
            LibraryError: If it is not in the library any more.
        """
        with self._reading() as db:
            parsed = parse_query(query)
            row = chunk_row(db, chunk_id, parsed)
            leg = self._attached.serving(db)
            if not highlight or leg is None or not parsed.text or not isinstance(leg.embedder, Explaining):
                return row
            vector = leg.embedder.embed([parsed.text], "query")[0]
            return replace(row, meaning_marks=meaning_spans(leg.embedder, row.text, vector, row.marks))

    def passages(self, chunk_ids: Sequence[int]) -> list[Passage]:
        """Return hits with what stands around them in their sections; see `mlx_mixer.documents.passages`."""
        with self._reading() as db:
            return passages_around(db, chunk_ids)

    def stored_document(self, content: int) -> StoredDocument:
        """Return the whole text that was read from a file.

        Raises:
            LibraryError: If it is not in the library any more.
        """
        with self._reading() as db:
            return stored_document(db, content)

    def file_state(self, path: str, content_digest: bytes, *, now_ns: int) -> FileState:
        """Whether a file still holds the very bytes that were read."""
        return file_state(path, content_digest, now_ns=now_ns)

    def export(
        self,
        out: Path,
        *,
        kind: Format = "parquet",
        vectors: bool = False,
        precision: Precision = "float16",
        progress: Callable[[Progress], None] | None = None,
    ) -> int:
        """Write every chunk, and its vector if wanted, as a table; see `mlx_mixer.documents.export`.

        Returns:
            How many chunks were written.

        Raises:
            LibraryError: If vectors are wanted and no embedder is attached to say which.
            UsageError: If something is at `out` already, or a package is missing.
        """
        meaning = self._attached.current if vectors else None
        if vectors and meaning is None:
            raise LibraryError("no embedder is attached to this library, so it is not known whose vectors to write")
        with self._reading() as db:
            total = count_rows(db)
            return write_table(
                export_rows(db, None if meaning is None else meaning.embedder.fingerprint),
                out,
                kind=kind,
                dims=None if meaning is None else meaning.embedder.dims,
                precision=precision,
                progress=None if progress is None else lambda done: progress(Progress("export", done, total)),
            )

    def status(self) -> LibraryStatus:
        """Count what is in the library."""
        with self._reading() as db:
            return library_status(db, self.path, self._attached.fingerprint)

    def changes(self) -> int:
        """Return a number that is another one once another process, or another thread, has written."""
        with self._reading() as db:
            return int(db.execute("PRAGMA data_version").fetchone()[0])

    def documents(self) -> list[DocumentRow]:
        """List the documents in order of path."""
        with self._reading() as db:
            return document_rows(db, self._attached.fingerprint)

    def left_out(self) -> list[FileNote]:
        """List the files and folders that are not searchable, and why."""
        with self._reading() as db:
            return left_out(db)

    def remove(self, path: AnyPath) -> int:
        """Forget a file or folder and everything read from it; return how many documents that were.

        Raises:
            LibraryError: If another process is writing to this library.
        """
        with self._writing() as db:
            with write_transaction(db):
                removed = store.remove_path(db, _absolute(os.fsencode(path)))
                set_setting(db, LAST_CHECK, 0)  # a new copy soon
            give_back_room(db)
            # What is to be forgotten must not live on in a copy.
            for copy in backups(self.path):
                copy.unlink()
        return removed

    def _similar(self, db: Database, place: Place, limit: int, filters: Filters | None) -> SearchResult:
        query = Query("", filters=filters or Filters())
        return search_similar(
            db, place, self._attached.required(), limit=limit, query=query, settings=Settings(grouped=True)
        )

    @contextmanager
    def reading(self) -> Iterator[Database]:
        """Give this thread's connection to what measures and mines; nothing may be written by it."""
        with self._reading() as db:
            yield db

    @contextmanager
    def _reading(self) -> Iterator[Database]:
        """Give this thread's connection; failures of SQLite become one clear line."""
        try:
            yield self._connections.get()
        except FAILURES as error:
            raise failure(self.path, error) from error

    @contextmanager
    def _writing(self) -> Iterator[Database]:
        with writer_lock(self.path), self._reading() as db:
            yield db

    def _embed(
        self,
        db: Database,
        tally: Tally,
        progress: Callable[[Progress], None] | None,
        is_cancelled: Callable[[], bool] | None,
    ) -> None:
        leg = self._attached.current
        if leg is None or tally.cancelled:
            return
        with write_transaction(db):
            store.remember_embedder(db, leg.embedder.fingerprint, leg.embedder.dims, int(time.time()))
        progress, is_cancelled = progress or _no_progress, is_cancelled or _never
        embed_pending(db, leg.embedder, tally, progress=progress, is_cancelled=is_cancelled)
        if not tally.cancelled:
            with write_transaction(db):
                finish_taking_over(db)


def _absolute(path: bytes) -> bytes:
    """The real path of what the user named: links in it are followed once, here, and nowhere below it."""
    return os.path.realpath(path)
