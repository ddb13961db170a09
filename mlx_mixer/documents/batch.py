"""What the next transaction will write, and when it is time for it."""

import time

from mlx_mixer.documents import store
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.records import FileData
from mlx_mixer.documents.words import path_words

# A transaction is committed at whichever comes first; a kill loses at most this much.
_FILES = 400
_BYTES = 2_000_000
_SECONDS = 0.5
# The first is committed at this many bytes: somebody may be waiting to find something. Only the last has fewer.
_LEAST_BYTES = 100_000


class Batch:
    """Files to be written together.

    Args:
        root: Id of the root they lie under.
        root_path: Its path.
    """

    def __init__(self, root: int, root_path: bytes) -> None:
        self.root = root
        self.root_path = root_path
        self._is_first = True
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

    def is_full(self, bytes_left: int | None) -> bool:
        """Whether to write now.

        Args:
            bytes_left: Of files that will still come, where that is known. They are prepared in another process while
                this one is written: the fewer there are, the less is written at once, so that both end together.
        """
        if not self.files:
            return False
        most = _BYTES if bytes_left is None else min(max(bytes_left // 2, _LEAST_BYTES), _BYTES)
        if self._is_first:
            most = _LEAST_BYTES
        waited = time.monotonic() - self._started > _SECONDS
        return len(self.files) >= _FILES or self._bytes >= most or waited

    def write(self, db: Database, now: int) -> None:
        for file_id, path in self.moves:
            store.move_file(db, file_id, self.root, path, path_words(path, self.root_path))
        store.save_files(db, self.root, self.files, now)
        store.show_again(db, self.reappeared, now)
        self._is_first = False
