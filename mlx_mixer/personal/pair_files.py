"""Mined pairs as the lines of a file that `mlx-mixer train retrieval` reads."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from mlx_mixer.atomic import write_atomically
from mlx_mixer.personal.mining import MinedPair


def write_pairs(path: Path, pairs: Iterable[MinedPair]) -> None:
    """Write pairs to learn from, or to choose by."""
    write_atomically(path, "".join(json.dumps(_record(pair)) + "\n" for pair in pairs).encode())


def write_all_pairs(path: Path, parts: Mapping[str, Iterable[MinedPair]]) -> None:
    """Write the pairs of every part, each with the name of its part, for people to look at."""
    records = ({**_record(pair), "part": part} for part, pairs in parts.items() for pair in pairs)
    write_atomically(path, "".join(json.dumps(record) + "\n" for record in records).encode())


def _record(pair: MinedPair) -> dict[str, str]:
    return {
        "query_hard": pair.hard or pair.item.query,
        "query_raw": pair.item.query,
        "passage": pair.passage,
        "kind": pair.item.kind,
        "path": pair.path,
    }
