"""Every Python example of the pages in docs/ runs as it stands, one after the other, on a small library."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mlx_mixer.documents.helpers import write_tree

DOCS = Path(__file__).parents[1] / "docs"
_EXAMPLE = re.compile(r"^```python(?: (?P<needs>\w+))?\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
BREAD = "# Cooking\n\n## Bread\n\nMix flour and water, and let the dough rest overnight in a cool place.\n"


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_tree(tmp_path / "notes", {"bread.md": BREAD, "garden.md": "# Garden\n\nTomatoes like warmth.\n"})


def mixer(*arguments: str) -> str:
    command = [sys.executable, "-m", "mlx_mixer", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_examples(page: str, needs: str | None) -> str:
    text = (DOCS / page).read_text(encoding="utf-8")
    code = "\n".join(match["code"] for match in _EXAMPLE.finditer(text) if match["needs"] == needs)
    assert code
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_of_the_export_finds_the_passage(notes: Path) -> None:
    mixer("docs", "add", str(notes))
    mixer("docs", "export", "--out", "notes.parquet", "--vectors")
    assert run_examples("export.md", None).split() == [str(notes / "bread.md"), "1", "Cooking", "›", "Bread"]


def test_the_example_of_the_chat_shows_its_sources(notes: Path) -> None:
    mixer("docs", "add", str(notes), "--words-only")
    assert run_examples("chat.md", None).splitlines()[0].startswith(f"1 {notes / 'bread.md'} 1 ")


def test_the_example_of_the_library_adds_and_finds(notes: Path) -> None:
    added, hit, count = run_examples("library.md", None).splitlines()
    assert (added, count) == ("2 added []", "2 documents")
    assert hit.startswith(f"{notes / 'bread.md'} ")


def test_duckdb_reads_the_table(notes: Path) -> None:
    pytest.importorskip("duckdb")
    mixer("docs", "add", str(notes), "--words-only")
    mixer("docs", "export", "--out", "notes.parquet")
    assert str(notes / "bread.md") in run_examples("export.md", "duckdb")


def test_lancedb_reads_its_table(notes: Path) -> None:
    pytest.importorskip("lancedb")
    mixer("docs", "add", str(notes))
    mixer("docs", "export", "--out", "notes.lance", "--format", "lancedb", "--vectors", "--precision", "float32")
    assert str(notes / "bread.md") in run_examples("export.md", "lancedb").splitlines()[0]
