"""An empty library, and a tiny real embedder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlx_mixer.documents.library import Library
from mlx_mixer.embedding import Embedder, load_embedder
from tests.mlx_mixer.documents.helpers import WatchedEmbedder
from tests.tiny import tiny_model_folder


@pytest.fixture(scope="session")
def tiny_embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return load_embedder(tiny_model_folder(tmp_path_factory.mktemp("embedder"), pooling="token_weighted", seed=5))


@pytest.fixture
def embedder(tiny_embedder: Embedder) -> WatchedEmbedder:
    return WatchedEmbedder(tiny_embedder)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "data" / "library.sqlite3") as library:
        yield library
