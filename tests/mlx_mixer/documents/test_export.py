"""What is exported, read back by pyarrow, which wrote none of what it is compared with."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlx_mixer.documents import export
from mlx_mixer.documents.library import Library
from mlx_mixer.errors import LibraryError, UsageError
from tests.mlx_mixer.documents.helpers import WatchedEmbedder, needs_any_name, write_tree

TREE = {
    "guide.md": "# Guide\n\n## Cache\n\nThe cache is trimmed from its end.\n\n" + "More of it. " * 200,
    "copy/guide.md": "same",
    "code.py": "def trim(count):\n    return count\n",
}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = write_tree(tmp_path / "docs", TREE)
    (folder / "copy" / "guide.md").write_bytes((folder / "guide.md").read_bytes())
    return folder


@pytest.fixture
def filled(library: Library, docs: Path, embedder: WatchedEmbedder) -> Library:
    library.attach(embedder)
    library.add([docs])
    return library


def test_the_texts_joined_are_the_files_and_the_hashes_are_theirs(filled: Library, docs: Path, tmp_path: Path) -> None:
    count = filled.export(tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert count == len(table) == filled.status().chunks
    assert "vector" not in table.column_names
    rows = table.to_pylist()
    for path in {row["path"] for row in rows}:
        parts = sorted((row for row in rows if row["path"] == path), key=lambda row: row["chunk"])
        text = "".join(row["text"] for row in parts)
        assert text == Path(path).read_text()
        assert {row["document_hash"] for row in parts} == {blake2b(text.encode(), digest_size=16).hexdigest()}
        for row in parts:
            assert text[row["start"] :].startswith(row["text"])
            assert row["line"] == text.count("\n", 0, row["start"]) + 1
    # A file and its copy are one document.
    assert {row["path"] for row in rows} == {str(docs / "code.py"), str(docs / "copy" / "guide.md")}


@pytest.mark.parametrize(("precision", "arrow"), [("float16", pa.float16()), ("float32", pa.float32())])
def test_vectors_are_those_that_search_uses(
    filled: Library, embedder: WatchedEmbedder, tmp_path: Path, precision: export.Precision, arrow: pa.DataType
) -> None:
    filled.export(tmp_path / "out.parquet", vectors=True, precision=precision)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.field("vector").type == pa.list_(arrow, embedder.dims)
    assert set(table["fingerprint"].to_pylist()) == {embedder.fingerprint}
    row = next(row for row in table.to_pylist() if row["path"].endswith("code.py"))
    expected = embedder.embed([row["heading"] + "\n" + row["text"].strip() if row["heading"] else row["text"].strip()])
    np.testing.assert_allclose(np.array(row["vector"], dtype=np.float32), expected[0], atol=1e-3)


def test_a_passage_without_a_vector_yet_has_none(filled: Library, docs: Path, tmp_path: Path) -> None:
    with Library(filled.path) as second:
        second.add([write_tree(tmp_path / "late", {"late.txt": "Late."})])
    filled.export(tmp_path / "out.parquet", vectors=True)
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    late = [row for row in rows if row["path"].endswith("late.txt")]
    assert [(row["vector"], row["fingerprint"]) for row in late] == [(None, None)]
    assert all(row["vector"] for row in rows if row not in late)


def test_it_is_written_in_batches_and_reported(
    filled: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "BATCH_ROWS", 2)
    monkeypatch.setattr(export, "_DOCUMENTS_AT_ONCE", 1)
    seen = []
    count = filled.export(tmp_path / "out.parquet", progress=lambda step: seen.append((step.done, step.total)))
    assert count > 2
    assert [done for done, _ in seen] == [*range(2, count, 2), count]
    assert {total for _, total in seen} == {count}
    assert pq.ParquetFile(tmp_path / "out.parquet").num_row_groups == len(seen)


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """A hundred thousand rows in a process of their own; in one piece they would take some 300 MB."""
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from mlx_mixer.documents.export import write_table\n"
        "vector = np.ones(256, np.float32)\n"
        "row = {'path': 'p', 'title': 't', 'heading': 'h', 'page': None, 'line': 1, 'start': 0, 'chunk': 0,\n"
        "       'document_hash': 'd', 'chunk_hash': 'c', 'fingerprint': 'f', 'vector': vector}\n"
        "def rows(count):\n"
        "    for n in range(count):\n        yield {**row, 'text': f'{n} ' * 150}\n"
        "def peak():\n"
        "    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "    return most // (1024 if sys.platform == 'linux' else 1 << 20)\n"
        "write_table(rows(20_000), Path(sys.argv[1]), dims=256)\n"
        "before = peak()\n"
        "write_table(rows(100_000), Path(sys.argv[2]), dims=256)\n"
        "print(peak() - before)\n"
    )
    out = [str(tmp_path / "a"), str(tmp_path / "b")]
    done = subprocess.run([sys.executable, "-c", script, *out], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60


def test_what_is_there_is_not_overwritten_and_a_failure_leaves_nothing(filled: Library, tmp_path: Path) -> None:
    out = tmp_path / "out" / "x.parquet"
    with pytest.raises(UsageError, match="is not a folder"):
        filled.export(out)
    out.parent.mkdir()
    out.write_text("mine")
    with pytest.raises(UsageError, match="already exists"):
        filled.export(out)
    assert out.read_text() == "mine"
    out.unlink()

    def rows() -> Iterator[export.Row]:
        yield from ()
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        export.write_table(rows(), out)
    assert list(out.parent.iterdir()) == []


def test_an_empty_library_gives_an_empty_table(library: Library, tmp_path: Path) -> None:
    assert library.export(tmp_path / "out.parquet") == 0
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


def test_vectors_need_an_embedder(library: Library, tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="no embedder"):
        library.export(tmp_path / "out.parquet", vectors=True)


@needs_any_name
def test_a_name_that_is_not_utf8_is_kept_readable(library: Library, tmp_path: Path) -> None:
    library.add([write_tree(tmp_path / "docs", {"caf\udce9.txt": "needle"})])
    library.export(tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet")["path"].to_pylist()[0].endswith("caf\\udce9.txt")


def test_without_the_package_the_extra_is_named(tmp_path: Path) -> None:
    """A package in front of the real one stands for one that is not there."""
    broken = write_tree(tmp_path / "broken", {"pyarrow/__init__.py": "raise ImportError('not here')\n"})
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(broken), str(Path.cwd())])}
    command = [sys.executable, "-m", "mlx_mixer", "docs", "export", "--out", str(tmp_path / "x.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, env=environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert 'pip install "mlx-mixer[export]"' in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "x.parquet").exists()


def test_the_command_says_what_it_wrote(library: Library, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mlx_mixer", "docs"]
    docs = write_tree(tmp_path / "docs", {"a.md": "# A\n\nWords.\n"})
    subprocess.run([*command, "add", str(docs), "--words-only"], check=True, capture_output=True)
    out = tmp_path / "out.parquet"
    done = subprocess.run([*command, "export", "--out", str(out), "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {
        "out": str(out),
        "format": "parquet",
        "passages": 1,
        "bytes": out.stat().st_size,
        "vectors": False,
    }
