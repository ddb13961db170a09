"""A library of two short documents."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlx_mixer.documents.library import Library
from tests.mlx_mixer.documents.helpers import write_tree

BREAD = """\
# Cooking

## Bread

Mix flour, water and salt, and let the dough rest overnight in a cool place.
In the morning fold it twice and bake it in a hot oven. The crust should sing
when it cools.

## Soup

Onions first, slowly, until they are sweet; then stock, and patience.
"""

CODE = '''\
"""Baking, by numbers."""


def hydration(water: float, flour: float) -> float:
    """Share of water in a dough, by weight."""
    if flour <= 0:
        raise ValueError("no flour, no dough")
    return water / flour
'''


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "docs", {"cooking.md": BREAD, "baking.py": CODE})


@pytest.fixture
def library(tmp_path: Path, tree: Path) -> Iterator[Library]:
    with Library(tmp_path / "data" / "library.sqlite3") as library:
        library.add([tree])
        yield library
