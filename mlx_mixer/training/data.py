"""Query-passage pairs from files; for texts see `mlx_mixer.training.text_sources`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_mixer.errors import MixerError, ModelNotFoundError
from mlx_mixer.training.json_lines import RECORD_SUFFIXES, STDIN, TEXT_FIELDS, records_of, text_of
from mlx_mixer.training.text_sources import read_texts as read_texts

# The fields that hold a question, best first; `query_hard` lacks the name that would give the answer away.
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


def read_pairs(paths: Sequence[Path]) -> list[Pair]:
    """Read the query-passage pairs of `.jsonl` and `.jsonl.gz` files, in a fixed order.

    A record has a `passage` (or `text`) and at least one of `query_hard`, `query_raw`, `query`; others are skipped.

    Args:
        paths: Files, folders of them, and `-` for standard input.

    Raises:
        ModelNotFoundError: If a path does not exist.
        MixerError: If a record is damaged, or no pair is found.
    """
    found = [_pair_of(record) for file in _files(paths) for record in records_of(file)]
    pairs = [pair for pair in found if pair is not None]
    if not pairs:
        where = ", ".join(map(str, paths))
        wanted = f"{' or '.join(map(repr, TEXT_FIELDS))} and a query ({', '.join(QUERY_FIELDS)})"
        if found:
            raise MixerError(f"no pairs found in {where}: none of the {len(found):,} records has {wanted}")
        raise MixerError(f"no pairs found in {where}; give .jsonl files whose lines have {wanted}")
    return pairs


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(
                file for file in path.rglob("*") if file.is_file() and file.name.endswith(RECORD_SUFFIXES)
            )
        elif path.is_file() or path == STDIN:
            yield path
        else:
            raise ModelNotFoundError(f"{path} does not exist")


def _pair_of(record: dict[str, Any]) -> Pair | None:
    passage = text_of(record)
    asked = (record[name] for name in QUERY_FIELDS if isinstance(record.get(name), str))
    queries = [query for query in asked if query.strip()]
    if not passage.strip() or not queries:
        return None
    overlap = record.get("overlap")
    return Pair(
        passage,
        tuple(dict.fromkeys(queries)),
        hard_query=record.get("query_hard") or None,
        overlap=float(overlap) if isinstance(overlap, int | float) else None,
    )
