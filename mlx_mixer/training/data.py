"""Files of text and of query-passage pairs."""

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_mixer.errors import MixerError, ModelNotFoundError

TEXT_SUFFIXES = (".txt", ".md", ".rst")
RECORD_SUFFIXES = (".jsonl", ".jsonl.gz")
# The fields that hold a text and a question, best first; `query_hard` lacks the name that would give the answer away.
TEXT_FIELDS = ("passage", "text")
QUERY_FIELDS = ("query_hard", "query_raw", "query")


@dataclass(frozen=True)
class Pair:
    """What somebody might ask, and the passage that answers it.

    Attributes:
        passage: The passage.
        queries: One or more ways to ask for it, hardest first; never empty.
        hard_query: The query without names that give the answer away, if the record has one.
        overlap: Share of the query's words that occur in the passage, if the record says so.
    """

    passage: str
    queries: tuple[str, ...]
    hard_query: str | None = None
    overlap: float | None = None


def read_texts(paths: Sequence[Path]) -> list[str]:
    """Read every text in files and folders, in a fixed order.

    A `.jsonl` or `.jsonl.gz` record counts with its `passage` or `text`; any other file counts as one text.

    Raises:
        ModelNotFoundError: If a path does not exist.
        MixerError: If a record is damaged, or no text is found.
    """
    texts = [text for file in _files(paths, TEXT_SUFFIXES + RECORD_SUFFIXES) for text in _texts_of(file)]
    if not texts:
        raise MixerError(f"no text found in {_names(paths)}; give .txt, .md, .rst, .jsonl or .jsonl.gz files")
    return texts


def read_pairs(paths: Sequence[Path]) -> list[Pair]:
    """Read the query-passage pairs of `.jsonl` and `.jsonl.gz` files, in a fixed order.

    A record has a `passage` (or `text`) and at least one of `query_hard`, `query_raw`, `query`; others are skipped.

    Raises:
        ModelNotFoundError: If a path does not exist.
        MixerError: If a record is damaged, or no pair is found.
    """
    records = (record for file in _files(paths, RECORD_SUFFIXES) for record in _records(file))
    pairs = [pair for record in records if (pair := _pair_of(record)) is not None]
    if not pairs:
        raise MixerError(
            f"no pairs found in {_names(paths)}; each line needs a 'passage' and a 'query' ({', '.join(QUERY_FIELDS)})"
        )
    return pairs


def _files(paths: Sequence[Path], suffixes: tuple[str, ...]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.is_file() and file.name.endswith(suffixes))
        elif path.is_file():
            yield path
        else:
            raise ModelNotFoundError(f"{path} does not exist")


def _texts_of(file: Path) -> Iterator[str]:
    if not file.name.endswith(RECORD_SUFFIXES):
        yield from _non_empty([file.read_text(encoding="utf-8", errors="replace")])
        return
    for record in _records(file):
        yield from _non_empty([record[name] for name in TEXT_FIELDS if isinstance(record.get(name), str)][:1])


def _pair_of(record: dict[str, Any]) -> Pair | None:
    passage = next((record[name] for name in TEXT_FIELDS if isinstance(record.get(name), str)), "")
    queries = list(_non_empty([record[name] for name in QUERY_FIELDS if isinstance(record.get(name), str)]))
    if not passage.strip() or not queries:
        return None
    overlap = record.get("overlap")
    return Pair(
        passage,
        tuple(dict.fromkeys(queries)),
        hard_query=record.get("query_hard") or None,
        overlap=float(overlap) if isinstance(overlap, int | float) else None,
    )


def _records(file: Path) -> Iterator[dict[str, Any]]:
    open_text = gzip.open if file.suffix == ".gz" else open
    try:
        with open_text(file, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _record(line, file, number)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise MixerError(f"{file} cannot be read as JSON lines: {error}") from error


def _record(line: str, file: Path, number: int) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MixerError(f"{file}, line {number}: not JSON ({error})") from error
    if not isinstance(record, dict):
        raise MixerError(f"{file}, line {number}: a {type(record).__name__}, where an object is expected")
    return record


def _non_empty(texts: Sequence[str]) -> Iterator[str]:
    return (text for text in texts if text.strip())


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths)
