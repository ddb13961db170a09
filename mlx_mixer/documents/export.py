"""Chunks and their vectors as a table that other engines read: Parquet, or a LanceDB table.

Rows come from SQLite in batches and leave in batches, so the memory needed does not grow with the library. What is
written appears whole or not at all.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np

from mlx_mixer.documents.chunk_hashes import chunk_hash
from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.prepare import embedding_text
from mlx_mixer.documents.vectors import from_blob
from mlx_mixer.errors import UsageError

Format = Literal["parquet", "lancedb"]
Precision = Literal["float16", "float32"]

BATCH_ROWS = 4096
"""Rows in memory at once: some 4 MB of text and 3 MB of vectors."""
TABLE_NAME = "chunks"

_DOCUMENTS = """
    SELECT c.id, c.hash, c.title, min(f.path), v.data, v.dims
    FROM contents c
    JOIN files f ON f.content = c.id AND f.state = 'indexed' AND f.missing_since IS NULL
    LEFT JOIN vectors v ON v.content = c.id AND v.fingerprint = :fingerprint
    WHERE c.id > :after GROUP BY c.id ORDER BY c.id LIMIT :limit
"""
_CHUNKS = "SELECT seq, start, line, page, heading, body FROM chunks WHERE content = ? ORDER BY id"
_DOCUMENTS_AT_ONCE = 64

Row = dict[str, Any]


def export_rows(db: Database, fingerprint: str | None) -> Iterator[Row]:
    """Yield one row per chunk of every document that can be found.

    Args:
        db: The library.
        fingerprint: Whose vectors to put beside the text; None for none. A chunk without one has `vector` None.
    """
    after = 0
    while True:
        # A page at a time: no read transaction stays open while the rows are written.
        documents = db.execute(
            _DOCUMENTS, {"fingerprint": fingerprint, "after": after, "limit": _DOCUMENTS_AT_ONCE}
        ).fetchall()
        if not documents:
            return
        for content, digest, title, path, data, dims in documents:
            vectors = None if data is None else from_blob(data, dims)
            for seq, start, line, page, heading, body in db.execute(_CHUNKS, [content]).fetchall():
                yield {
                    # What is not UTF-8 in a name is kept as the escape that Python and most tools print for it.
                    "path": os.fsdecode(path).encode("utf-8", "backslashreplace").decode(),
                    "title": title,
                    "heading": heading,
                    "page": page,
                    "line": line,
                    "start": start,
                    "chunk": seq,
                    "text": body,
                    "document_hash": digest.hex(),
                    "chunk_hash": chunk_hash(embedding_text(heading, body)).hex(),
                    "fingerprint": fingerprint if vectors is not None else None,
                    "vector": None if vectors is None else vectors[seq],
                }
        after = documents[-1][0]


def count_rows(db: Database) -> int:
    """How many rows `export_rows` yields."""
    return int(
        db.execute(
            "SELECT coalesce(sum(chunk_count), 0) FROM contents WHERE id IN"
            " (SELECT content FROM files WHERE state = 'indexed' AND missing_since IS NULL)"
        ).fetchone()[0]
    )


def write_table(
    rows: Iterator[Row],
    out: Path,
    *,
    kind: Format = "parquet",
    dims: int | None = None,
    precision: Precision = "float16",
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write rows as a Parquet file or a LanceDB folder, and return how many.

    Args:
        rows: From `export_rows`.
        out: The file or folder to make; it must not exist.
        kind: What to make.
        dims: Dimensions of the vectors; None leaves the columns `vector` and `fingerprint` out.
        precision: Of the vectors; the library stores float16, so float32 adds size and no precision.
        progress: Called with the number of rows written so far.

    Raises:
        UsageError: If something is at `out`, or the package that writes this format is not installed.
        OSError: If it cannot be written; nothing is left behind then.
    """
    arrow = _needed("pyarrow", "Parquet")
    schema = _schema(arrow, dims, precision)
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out} already exists; choose another name or remove it first")
    written = 0

    def batches() -> Iterator[Any]:  # pyarrow's, which has no types
        nonlocal written
        for batch in _batches(rows, arrow, schema):
            yield batch
            written += batch.num_rows
            if progress is not None:
                progress(written)

    if kind == "parquet":
        _write_parquet(batches(), schema, out)
    else:
        _write_lance(batches(), schema, out)
    return written


def _write_parquet(batches: Iterator[Any], schema: Any, out: Path) -> None:
    parquet = _needed("pyarrow.parquet", "Parquet")
    with _whole_or_nothing(out) as temporary:
        with parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
        _sync(temporary)


def _write_lance(batches: Iterator[Any], schema: Any, out: Path) -> None:
    lancedb = _needed("lancedb", "LanceDB")
    arrow = _needed("pyarrow", "LanceDB")
    with _whole_or_nothing(out) as temporary:
        reader = arrow.RecordBatchReader.from_batches(schema, batches)
        lancedb.connect(str(temporary)).create_table(TABLE_NAME, reader, schema=schema)


def _needed(module: str, what: str) -> ModuleType:
    package = module.partition(".")[0]
    extra = "export" if package == "pyarrow" else "lancedb"
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(
            f'{what} needs the package {package}, which is not installed; get it with: pip install "mlx-mixer[{extra}]"'
        ) from error


def _schema(arrow: ModuleType, dims: int | None, precision: Precision) -> Any:
    text, whole = arrow.string(), arrow.int64()
    columns = [("path", text, False), ("title", text, False), ("heading", text, False), ("page", whole, True)]
    columns += [("line", whole, False), ("start", whole, False), ("chunk", whole, False), ("text", text, False)]
    columns += [("document_hash", text, False), ("chunk_hash", text, False)]
    if dims is not None:
        number = arrow.float16() if precision == "float16" else arrow.float32()
        columns += [("fingerprint", text, True), ("vector", arrow.list_(number, dims), True)]
    return arrow.schema([arrow.field(name, kind, nullable=nullable) for name, kind, nullable in columns])


def _batches(rows: Iterator[Row], arrow: ModuleType, schema: Any) -> Iterator[Any]:
    waiting: list[Row] = []
    for row in rows:
        waiting.append(row)
        if len(waiting) == BATCH_ROWS:
            yield _batch(waiting, arrow, schema)
            waiting = []
    if waiting:
        yield _batch(waiting, arrow, schema)


def _batch(rows: list[Row], arrow: ModuleType, schema: Any) -> Any:
    columns = []
    for column in schema:
        values = [row[column.name] for row in rows]
        if column.name == "vector":
            columns.append(_vectors(values, arrow, column.type))
        else:
            columns.append(arrow.array(values, column.type))
    return arrow.RecordBatch.from_arrays(columns, schema=schema)


def _vectors(values: list[Any], arrow: ModuleType, kind: Any) -> Any:
    """(rows,) vectors or None -> one array over one block of numbers."""
    dims = kind.list_size
    numbers = np.zeros((len(values), dims), dtype=kind.value_type.to_pandas_dtype())
    missing = np.zeros(len(values), dtype=np.bool_)
    for index, vector in enumerate(values):
        missing[index] = vector is None
        if vector is not None:
            numbers[index] = vector
    flat = arrow.array(numbers.reshape(-1), kind.value_type)
    return arrow.FixedSizeListArray.from_arrays(flat, type=kind, mask=arrow.array(missing))


@contextmanager
def _whole_or_nothing(out: Path) -> Iterator[Path]:
    """Yield a path beside `out` that becomes it when the block succeeds and vanishes when it fails."""
    if not out.parent.is_dir():
        raise UsageError(f"{out.parent} is not a folder; make it first")
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".partial"))
    try:
        yield folder / out.name
        (folder / out.name).rename(out)
        _sync(out.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
