"""Small trees of real files, libraries of earlier versions, and a real embedder that can be watched."""

import gzip
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mlx_mixer.embedding import Embedder, TextKind

# Long past: files this old are settled, and are recognised by their time alone.
OLD_NS = 1_700_000_000_000_000_000

needs_any_name = pytest.mark.skipif(sys.platform == "darwin", reason="APFS refuses names that are not UTF-8")


def write_tree(folder: Path, files: Mapping[str, str | bytes], *, mtime_ns: int = OLD_NS) -> Path:
    """Write files below a folder, with a time long past."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, ns=(mtime_ns, mtime_ns))
    return folder


def old_library_file(folder: Path, *, version: int, name: str = "library.sqlite3") -> Path:
    """Write a library as an earlier version of the program left it; test_migrations.py says what is in it."""
    path = folder / name
    path.write_bytes(gzip.decompress(Path(__file__).with_name(f"library_v{version}.sqlite3.gz").read_bytes()))
    return path


class WatchedEmbedder:
    """A real embedder that remembers which documents it was given."""

    def __init__(self, embedder: Embedder, fingerprint: str | None = None) -> None:
        self._embedder = embedder
        self.dims = embedder.dims
        self.fingerprint = fingerprint or embedder.fingerprint
        self.documents: list[str] = []
        self.queries: list[str] = []

    def embed(self, texts: Sequence[str], kind: TextKind = "document") -> npt.NDArray[np.float32]:
        (self.documents if kind == "document" else self.queries).extend(texts)
        return self._embedder.embed(texts, kind)
