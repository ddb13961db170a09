"""Texts to learn from: files and folders of every format that the library reads, JSON lines, and the library itself.

Folders are walked as `docs add` walks them: hidden files, what an ignore file names, secrets and folders of tools are
left out. A format whose parser can fail is read in a child process; a file that cannot be read costs that file alone,
unless it was named itself.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mlx_mixer.documents.filebytes import read_file
from mlx_mixer.documents.indexed_texts import indexed_texts
from mlx_mixer.documents.reader_process import ReaderProcess
from mlx_mixer.documents.readers import reader_for
from mlx_mixer.documents.scan import Found, scan
from mlx_mixer.documents.schema import APPLICATION_ID
from mlx_mixer.documents.unreadable import UnreadableError
from mlx_mixer.errors import MixerError, ModelNotFoundError
from mlx_mixer.training.json_lines import RECORD_SUFFIXES, STDIN, parse_records, read_stdin, records_of, text_of

Narrate = Callable[[str], None]
_SQLITE = b"SQLite format 3\x00"
# Where SQLite's header holds the application's id, four bytes, most significant first.
_ID_PLACE = slice(68, 72)


def read_texts(paths: Sequence[Path], narrate: Narrate | None = None) -> list[str]:
    """Read every text in files, folders and libraries, in a fixed order.

    A record of JSON lines counts with its `passage` or `text`, a passage of a library with its headings; any other file
    counts as one text.

    Args:
        paths: Files, folders, library files, and `-` for standard input (JSON lines, or one text).
        narrate: Told how many files of a folder could not be read.

    Raises:
        ModelNotFoundError: If a path does not exist.
        MixerError: If a record is damaged, a file that was named cannot be read, or no text is found.
        LibraryError: If a library cannot be read.
    """
    left_out: list[str] = []
    with ReaderProcess() as process:
        texts = [text for path in paths for text in _texts_at(path, process, left_out) if text.strip()]
    if left_out and narrate is not None:
        narrate(f"{len(left_out):,} of the files could not be read, the first being {left_out[0]}")
    if not texts:
        where = ", ".join(map(str, paths))
        raise MixerError(f"no text found in {where}; give documents, .jsonl files, folders of them, or a library")
    return texts


def _texts_at(path: Path, process: ReaderProcess, left_out: list[str]) -> Iterator[str]:
    if path == STDIN:
        yield from _stdin_texts()
    elif path.is_dir():
        for file in sorted(_files_below(path)):
            try:
                yield from _texts_of(file, process)
            except UnreadableError as error:
                left_out.append(f"{file}: {error}")
    elif path.is_file():
        try:
            yield from _texts_of(path.resolve(), process)
        except UnreadableError as error:
            raise MixerError(f"{path} cannot be read: {error}") from error
    else:
        raise ModelNotFoundError(f"{path} does not exist")


def _files_below(folder: Path) -> Iterator[Path]:
    """The files that a library would take in, and JSON lines, compressed or not."""
    for entry in scan(os.fsencode(folder.resolve())):
        # Rules leave compressed files out; those of records are read here.
        is_packed_records = entry.path.endswith(b".jsonl.gz") and not os.path.basename(entry.path).startswith(b".")  # noqa: PTH119  (bytes)
        if isinstance(entry, Found) or is_packed_records:
            yield Path(os.fsdecode(entry.path))


def _texts_of(file: Path, process: ReaderProcess) -> Iterator[str]:
    if file.name.endswith(RECORD_SUFFIXES):
        yield from map(text_of, records_of(file))
    elif _is_library(file):
        yield from indexed_texts(file)
    else:
        path = os.fsencode(file)
        reader = reader_for(path)
        try:
            data = read_file(path, now_ns=time.time_ns(), max_bytes=reader.max_bytes).data
        except OSError as error:
            raise UnreadableError((error.strerror or str(error)).lower()) from error
        yield process.read_file_content(data, reader)[0].text


def _is_library(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            header = opened.read(100)
    except OSError:
        return False  # whoever reads it next says why
    return header.startswith(_SQLITE) and int.from_bytes(header[_ID_PLACE], "big") == APPLICATION_ID


def _stdin_texts() -> Iterator[str]:
    text = read_stdin()
    first = next((line for line in text.splitlines() if line.strip()), "")
    try:
        is_record = isinstance(json.loads(first), dict)
    except ValueError:
        is_record = False
    if is_record:
        yield from map(text_of, parse_records(text.splitlines(), "standard input"))
    else:
        yield text
