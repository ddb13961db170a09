"""An empty library."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlx_mixer.documents.library import Library


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "data" / "library.sqlite3") as library:
        yield library
