"""Stage one: make the words of new and changed files searchable."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from mlx_mixer.documents import reach, store
from mlx_mixer.documents.batch import Batch
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.contents import find_content, give_words_room
from mlx_mixer.documents.events import FileNote, Progress, Tally
from mlx_mixer.documents.filebytes import UNSETTLED, FileBytes, content_hash, read_file
from mlx_mixer.documents.preparing import Preparer
from mlx_mixer.documents.preparing_process import Job
from mlx_mixer.documents.readers import Reader, reader_for
from mlx_mixer.documents.records import ContentData, FileData
from mlx_mixer.documents.scan import Found, LeftOut, is_inside, scan
from mlx_mixer.documents.store import KnownFile
from mlx_mixer.documents.transactions import write_transaction
from mlx_mixer.documents.unreadable import UnreadableError
from mlx_mixer.documents.words import path_words
from mlx_mixer.errors import LibraryError

# Of a file that lies in thousands of places, a renamed copy may count as a new one; looking at all would take for ever.
_MOST_TWINS = 16
# What is left to do about a file, and the job that must be done before.
_Step = tuple[Callable[[], None], Job | None]


class TextStage:
    """Bring the library in step with one root after another.

    Args:
        db: The writer's connection; the caller holds the writer lock.
        tally: Counts to add to.
        preparer: Makes of a file's bytes what the index keeps of it.
        progress: Called after every committed batch and now and then while scanning.
        is_cancelled: Asked before every file that is new or changed, and once for a thousand others.
    """

    def __init__(
        self,
        db: Database,
        tally: Tally,
        preparer: Preparer,
        *,
        progress: Callable[[Progress], None],
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._db = db
        self._tally = tally
        self._preparer = preparer
        self._progress = progress
        self._is_cancelled = is_cancelled
        self._library_path = os.fsencode(db.execute("PRAGMA database_list").fetchone()[2])
        self._library_identity = self._identity()
        self._readers: dict[bytes, Reader] = {}
        self._lost = reach.lost_mounts(db)
        self._looked_at = 0
        self._read = 0

    def run(self, path: bytes) -> None:
        """Scan a file or folder and store what is new there.

        Raises:
            LibraryError: If the library's file was deleted or replaced meanwhile.
        """
        if reason := reach.away_reason(self._db, path):
            self._tally.failed.append(FileNote(os.fsdecode(path), reason))
            return
        with write_transaction(self._db):
            root, root_path = store.ensure_root(self._db, path)
            give_words_room(self._db)
        known = store.known_files(self._db, root, path if path != root_path else None)
        batch = Batch(root, root_path)
        unreadable: list[bytes] = []
        mounts: list[bytes] = []
        steps = self._steps(scan(path, root_path, mounts=mounts), known, batch, unreadable)
        try:
            for take_in, _ in self._preparer.in_order(steps):
                if self._is_cancelled():
                    self._tally.cancelled = True
                    break
                take_in()
                if batch.is_full(self._preparer.bytes_left):
                    self._commit(batch)
            self._commit(batch)
        finally:
            self._stop_looking()
        self._progress(Progress("scan", self._looked_at))
        if not self._tally.cancelled:
            self._hide_missing(known, unreadable)
            with write_transaction(self._db):
                reach.remember_mounts(self._db, path, mounts)

    def _steps(
        self, items: Iterable[Found | LeftOut], known: dict[bytes, KnownFile], batch: Batch, unreadable: list[bytes]
    ) -> Iterator[_Step]:
        """Look at everything in order, and read what is new; what that comes to is done later, in order too."""
        for item in items:
            if item.path.startswith(self._library_path):
                continue  # the library's own file, and those that lie beside it
            if self._looked_at % 1000 == 0 and self._is_cancelled():
                self._tally.cancelled = True
                return
            self._looked_at += 1
            if self._looked_at % 1000 == 0:
                self._progress(Progress("scan", self._looked_at, path=os.fsdecode(item.path)))
            before = known.pop(item.path, None)
            if isinstance(item, Found):
                step = self._look_at(item, before, batch)
                if step is not None:
                    yield step
            else:
                yield partial(self._leave_out, item, before, batch, unreadable), None

    def _look_at(self, found: Found, known: KnownFile | None, batch: Batch) -> _Step | None:
        """Read a file that may have changed; None if there is nothing to do about it."""
        path, size, mtime_ns, inode = found
        reader = self._reader(path)
        if (
            known
            and known.mtime_ns == mtime_ns
            and known.size == size
            and known.inode == inode
            and known.reader == reader.name
            and known.reader_version == reader.version
        ):
            if known.state == "indexed" and known.missing_since is None:
                self._tally.unchanged += 1
                return None  # nearly every file of nearly every walk, so by the shortest way
            return partial(self._note_unchanged, path, known, batch), None
        try:
            file = read_file(path, now_ns=time.time_ns(), max_bytes=reader.max_bytes)
        except UnreadableError as error:
            return partial(self._skip, found, str(error), batch, reader, mtime_ns=UNSETTLED), None
        except OSError as error:
            return partial(self._fail, path, error, batch), None
        digest = content_hash(file.data)
        stored = self._stored(digest, reader)
        job = Job(file.data, digest, reader) if stored is None else None
        source: Job | int | None = job or stored
        assert source is not None
        # Without the bytes, which the job lets go of when it is done.
        facts = FileBytes(b"", file.size, file.mtime_ns, file.inode)
        return partial(self._take_in, found, facts, reader, known, batch, source), job

    def _stored(self, digest: bytes, reader: Reader) -> int | None:
        # Every look outside of a transaction takes and lets go of locks, which is most of its time.
        if not self._db.in_transaction:
            self._db.execute("BEGIN")
        return find_content(self._db, digest, reader.name, reader.version)

    def _stop_looking(self) -> None:
        if self._db.in_transaction:
            self._db.execute("COMMIT")

    def _reader(self, path: bytes) -> Reader:
        suffix = path.rpartition(b".")[2]
        reader = self._readers.get(suffix)
        if reader is None:
            reader = reader_for(path)
            if b"/" not in suffix:  # a file without a suffix
                self._readers[suffix] = reader
        return reader

    def _note_unchanged(self, path: bytes, known: KnownFile, batch: Batch) -> None:
        if known.missing_since is not None:
            batch.reappeared.append(known.id)
        if known.state == "indexed":
            self._tally.unchanged += 1
            return
        notes = self._tally.skipped if known.state == "skipped" else self._tally.failed
        notes.append(FileNote(os.fsdecode(path), known.reason or ""))

    def _take_in(
        self,
        found: Found,
        file: FileBytes,
        reader: Reader,
        known: KnownFile | None,
        batch: Batch,
        source: Job | int,
    ) -> None:
        content = source if isinstance(source, int) else source.result
        assert content is not None
        if isinstance(content, str):
            self._skip(found, content, batch, reader, mtime_ns=file.mtime_ns)
            return
        words = path_words(found.path, batch.root_path)
        data = FileData(
            found.path,
            words,
            file.size,
            file.mtime_ns,
            file.inode,
            modified=found.mtime_ns // 1_000_000_000,
            reader=reader.name,
            reader_version=reader.version,
            content=content,
        )
        batch.add(data, bytes_read=file.size)
        self._read += 1
        self._count(known, content, found.path, batch)

    def _count(self, known: KnownFile | None, content: ContentData | int, path: bytes, batch: Batch) -> None:
        if known and known.state == "indexed":
            if known.content == content:
                self._tally.unchanged += 1
            else:
                self._tally.updated += 1
        elif isinstance(content, int) and (old := self._vanished_twin(content, batch)) is not None:
            batch.moves.append((old, path))
            self._tally.renamed += 1
        else:
            self._tally.added += 1

    def _vanished_twin(self, content: int, batch: Batch) -> int | None:
        """Find a file with the same content that is not where it was, though its disk is: a rename left it behind."""
        taken = {file_id for file_id, _ in batch.moves}
        rows = self._db.execute(
            "SELECT f.id, f.path, r.path FROM files f JOIN roots r ON r.id = f.root WHERE content = ? LIMIT ?",
            [content, _MOST_TWINS],
        )
        for file_id, path, root in rows:
            if file_id not in taken and not os.path.lexists(path) and reach.is_there(root, path, self._lost):
                return int(file_id)
        return None

    def _leave_out(self, item: LeftOut, known: KnownFile | None, batch: Batch, unreadable: list[bytes]) -> None:
        note = FileNote(os.fsdecode(item.path), item.reason)
        if item.unreadable:
            unreadable.append(item.path)
            self._tally.failed.append(note)
        else:
            self._tally.skipped.append(note)
        state = "failed" if item.unreadable else "skipped"
        if known is None or (known.state, known.reason, known.missing_since) != (state, item.reason, None):
            words = path_words(item.path, batch.root_path)
            batch.add(FileData(item.path, words, state="failed" if item.unreadable else "skipped", reason=item.reason))

    def _skip(self, found: Found, reason: str, batch: Batch, reader: Reader, *, mtime_ns: int) -> None:
        self._tally.skipped.append(FileNote(os.fsdecode(found.path), reason))
        data = FileData(
            found.path,
            path_words(found.path, batch.root_path),
            found.size,
            mtime_ns,
            found.inode,
            modified=found.mtime_ns // 1_000_000_000,
            reader=reader.name,
            reader_version=reader.version,
            state="skipped",
            reason=reason,
        )
        batch.add(data, bytes_read=found.size)

    def _fail(self, path: bytes, error: OSError, batch: Batch) -> None:
        # No facts are kept by which the file could be taken for unchanged: the next walk tries again.
        reason = (error.strerror or str(error)).lower()
        self._tally.failed.append(FileNote(os.fsdecode(path), reason))
        batch.add(FileData(path, path_words(path, batch.root_path), state="failed", reason=reason))

    def _commit(self, batch: Batch) -> None:
        self._stop_looking()
        if not batch.is_empty():
            if self._identity() != self._library_identity:
                raise LibraryError("the library's file was deleted or replaced while documents were being added")
            with write_transaction(self._db):
                batch.write(self._db, int(time.time()))
            last = os.fsdecode(batch.files[-1].path) if batch.files else ""
            self._progress(Progress("text", self._read, path=last))
        batch.clear()

    def _hide_missing(self, unseen: dict[bytes, KnownFile], unreadable: list[bytes]) -> None:
        """Hide what was known and not seen, except below what could not be read, or is away with its disk."""
        gone = {
            file.id: path
            for path, file in unseen.items()
            if not any(is_inside(path, folder) for folder in unreadable)
            and not (self._lost and reach.hidden_by_unmounting(path, self._lost))
        }
        if not gone:
            return
        with write_transaction(self._db):
            self._tally.removed += store.hide(self._db, gone, int(time.time()))

    def _identity(self) -> tuple[int, int]:
        try:
            status = Path(os.fsdecode(self._library_path)).stat()
        except OSError:
            return (0, 0)
        return (status.st_dev, status.st_ino)
