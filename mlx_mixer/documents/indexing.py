"""Stage one: make the words of new and changed files searchable."""

import os
import time
from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path

from sqlite_utils import Database

from mlx_mixer.documents import store
from mlx_mixer.documents.chunk import chunk_document
from mlx_mixer.documents.events import FileNote, Progress, Tally
from mlx_mixer.documents.filebytes import UNSETTLED, FileBytes, content_hash, read_file
from mlx_mixer.documents.readers import Reader, read_document, reader_for
from mlx_mixer.documents.scan import Found, LeftOut, is_inside, scan
from mlx_mixer.documents.store import ChunkData, ContentData, FileData, KnownFile
from mlx_mixer.documents.structure import ReadDocument
from mlx_mixer.documents.transactions import write_transaction
from mlx_mixer.documents.unreadable import UnreadableError
from mlx_mixer.documents.words import identifier_words, path_words
from mlx_mixer.errors import LibraryError

HEADING_SEPARATOR = " › "
_MAX_HEADING = 200
# A transaction is committed at whichever comes first; a kill loses at most this much.
_BATCH_FILES = 64
_BATCH_BYTES = 2_000_000
_BATCH_SECONDS = 0.5


class TextStage:
    """Bring the library in step with one root after another.

    Args:
        db: The writer's connection; the caller holds the writer lock.
        tally: Counts to add to.
        progress: Called after every committed batch and now and then while scanning.
        is_cancelled: Asked between files.
    """

    def __init__(
        self,
        db: Database,
        tally: Tally,
        *,
        progress: Callable[[Progress], None],
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._db = db
        self._tally = tally
        self._progress = progress
        self._is_cancelled = is_cancelled
        self._library_path = os.fsencode(db.execute("PRAGMA database_list").fetchone()[2])
        self._library_identity = self._identity()
        self._looked_at = 0
        self._read = 0

    def run(self, path: bytes) -> None:
        """Scan a file or folder and store what is new there.

        Raises:
            LibraryError: If the library's file was deleted or replaced meanwhile.
        """
        with write_transaction(self._db):
            root = store.ensure_root(self._db, path)
            root_path = self._db.execute("SELECT path FROM roots WHERE id = ?", [root]).fetchone()[0]
        known = {p: file for p, file in store.known_files(self._db, root).items() if is_inside(p, path)}
        batch = _Batch(root, root_path)
        seen: set[bytes] = set()
        unreadable: list[bytes] = []
        for item in scan(path):
            if self._is_cancelled():
                self._tally.cancelled = True
                break
            if item.path.startswith(self._library_path):
                continue  # the library's own file, and those SQLite keeps beside it
            self._looked_at += 1
            seen.add(item.path)
            if isinstance(item, LeftOut):
                self._leave_out(item, known.get(item.path), batch, unreadable)
            else:
                self._look_at(item, known.get(item.path), batch)
            if batch.is_full():
                self._commit(batch)
            if self._looked_at % 1000 == 0:
                self._progress(Progress("scan", self._looked_at, path=os.fsdecode(item.path)))
        self._commit(batch)
        self._progress(Progress("scan", self._looked_at))
        if not self._tally.cancelled:
            self._hide_missing(known, seen, unreadable)

    def _look_at(self, found: Found, known: KnownFile | None, batch: "_Batch") -> None:
        reader = reader_for(found.path)
        is_same = known and (found.size, found.mtime_ns, found.inode) == (known.size, known.mtime_ns, known.inode)
        if known and is_same and (known.state == "skipped" or known.reader_version == reader.version):
            self._note_unchanged(found.path, known, batch)
            return
        try:
            file = read_file(found.path, now_ns=time.time_ns())
        except UnreadableError as error:
            self._skip(found, str(error), batch, mtime_ns=UNSETTLED)
        except OSError as error:
            self._fail(found.path, error, batch)
        else:
            self._take_in(found, file, reader, known, batch)

    def _note_unchanged(self, path: bytes, known: KnownFile, batch: "_Batch") -> None:
        if known.missing_since is not None:
            batch.reappeared.append(known.id)
        if known.state == "skipped":
            self._tally.skipped.append(FileNote(os.fsdecode(path), known.reason or ""))
        else:
            self._tally.unchanged += 1

    def _take_in(self, found: Found, file: FileBytes, reader: Reader, known: KnownFile | None, batch: "_Batch") -> None:
        digest = content_hash(file.data)
        content: ContentData | int | None = store.find_content(self._db, digest, reader.name, reader.version)
        if content is None:
            try:
                document, encoding = read_document(file.data, reader)
            except UnreadableError as error:
                self._skip(found, str(error), batch, mtime_ns=file.mtime_ns)
                return
            content = prepare_content(document, digest, reader, encoding)
        words = path_words(found.path, batch.root_path)
        batch.add(
            FileData(found.path, words, file.size, file.mtime_ns, file.inode, content=content), bytes_read=file.size
        )
        self._read += 1
        self._count(known, content, found.path, batch)

    def _count(self, known: KnownFile | None, content: ContentData | int, path: bytes, batch: "_Batch") -> None:
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

    def _vanished_twin(self, content: int, batch: "_Batch") -> int | None:
        """Find a file with the same content that is not where it was: the one a rename left behind."""
        taken = {file_id for file_id, _ in batch.moves}
        for file_id, path in self._db.execute("SELECT id, path FROM files WHERE content = ?", [content]):
            if file_id not in taken and not os.path.lexists(path):
                return int(file_id)
        return None

    def _leave_out(self, item: LeftOut, known: KnownFile | None, batch: "_Batch", unreadable: list[bytes]) -> None:
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

    def _skip(self, found: Found, reason: str, batch: "_Batch", *, mtime_ns: int) -> None:
        self._tally.skipped.append(FileNote(os.fsdecode(found.path), reason))
        words = path_words(found.path, batch.root_path)
        batch.add(FileData(found.path, words, found.size, mtime_ns, found.inode, state="skipped", reason=reason))

    def _fail(self, path: bytes, error: OSError, batch: "_Batch") -> None:
        reason = (error.strerror or str(error)).lower()
        self._tally.failed.append(FileNote(os.fsdecode(path), reason))
        batch.add(FileData(path, path_words(path, batch.root_path), state="failed", reason=reason))

    def _commit(self, batch: "_Batch") -> None:
        if not batch.is_empty():
            if self._identity() != self._library_identity:
                raise LibraryError("the library's file was deleted or replaced while documents were being added")
            with write_transaction(self._db):
                batch.write(self._db, int(time.time()))
            last = os.fsdecode(batch.files[-1].path) if batch.files else ""
            self._progress(Progress("text", self._read, path=last))
        batch.clear()

    def _hide_missing(self, known: dict[bytes, KnownFile], seen: set[bytes], unreadable: list[bytes]) -> None:
        """Hide what was known and not seen, except below what could not be read this time."""
        gone = [
            (path, file)
            for path, file in known.items()
            if path not in seen and not any(is_inside(path, folder) for folder in unreadable)
        ]
        if not gone:
            return
        now = int(time.time())
        with write_transaction(self._db):
            # A rename gave its row a new path; that row is not missing.
            current = [
                (file_id, file.state)
                for path, file in gone
                for (file_id,) in self._db.execute(
                    "SELECT id FROM files WHERE path = ? AND missing_since IS NULL", [path]
                ).fetchall()
            ]
            store.set_missing(self._db, [file_id for file_id, _ in current], since=now, now=now)
        self._tally.removed += sum(state == "indexed" for _, state in current)

    def _identity(self) -> tuple[int, int]:
        try:
            status = Path(os.fsdecode(self._library_path)).stat()
        except OSError:
            return (0, 0)
        return (status.st_dev, status.st_ino)


class _Batch:
    """What the next transaction will write."""

    def __init__(self, root: int, root_path: bytes) -> None:
        self.root = root
        self.root_path = root_path
        self.clear()

    def clear(self) -> None:
        self.files: list[FileData] = []
        self.moves: list[tuple[int, bytes]] = []
        self.reappeared: list[int] = []
        self._bytes = 0
        self._started = time.monotonic()

    def add(self, file: FileData, *, bytes_read: int = 0) -> None:
        self.files.append(file)
        self._bytes += bytes_read

    def is_empty(self) -> bool:
        return not (self.files or self.reappeared)

    def is_full(self) -> bool:
        waited = time.monotonic() - self._started > _BATCH_SECONDS
        return len(self.files) >= _BATCH_FILES or self._bytes >= _BATCH_BYTES or (waited and bool(self.files))

    def write(self, db: Database, now: int) -> None:
        for file_id, path in self.moves:
            store.move_file(db, file_id, self.root, path, path_words(path, self.root_path))
        for file in self.files:
            store.save_file(db, self.root, file, now)
        store.set_missing(db, self.reappeared, since=None, now=now)


def prepare_content(document: ReadDocument, digest: bytes, reader: Reader, encoding: str) -> ContentData:
    """Cut a document and compute everything the index needs of it."""
    chunks = [
        _prepare_chunk(document.text[chunk.start : chunk.end], chunk.start, chunk.line, document.title, chunk.heading)
        for chunk in chunk_document(document)
    ]
    return ContentData(digest, reader.name, reader.version, document.title, encoding, len(document.text), tuple(chunks))


def _prepare_chunk(body: str, start: int, line: int, title: str, path: Iterable[str]) -> ChunkData:
    parts = [part for part in path if part]
    if title and title not in parts[:1]:
        parts.insert(0, title)
    heading = HEADING_SEPARATOR.join(parts)[:_MAX_HEADING]
    digest = blake2b(embedding_text(heading, body).encode("utf-8", "replace"), digest_size=16).digest()
    return ChunkData(start, line, heading, body, identifier_words(body), digest)


def embedding_text(heading: str, body: str) -> str:
    """What of a chunk is embedded: the headings it lies under, then its text."""
    return f"{heading}\n{body.strip()}" if heading else body.strip()
