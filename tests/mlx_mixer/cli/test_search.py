"""`search` as a user runs it: options, links on a terminal, and what it says when nothing good matches."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_mixer.cli.hits import linked
from mlx_mixer.documents.library import Library
from mlx_mixer.embedding import load_embedder
from mlx_mixer.paths import default_paths
from tests.mlx_mixer.documents.helpers import write_tree

FILES = {
    "bread [draft].md": "# Bread\n\nMix flour, water and salt, knead the dough, let it rise overnight.\n",
    "db.md": "# Storage\n\nRows of a table are kept in a database file, and a query reads them by an index.\n",
    "trees.md": "# Apple trees\n\nPrune an apple tree in late winter, before the buds swell.\n",
    "cache.py": '"""Decode state."""\n\n\ndef trim(cache, count):\n    """Forget the newest dough."""\n',
}


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLX_MIXER_HOME", str(tmp_path / "home"))
    folder = write_tree(tmp_path / "docs", FILES)
    with Library(default_paths().library, embedder=load_embedder()) as library:
        library.add([folder])
    return folder


def run(*arguments: str, given: str = "", code: int = 0) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "mlx_mixer", "search", *arguments], input=given, capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def found(*arguments: str) -> list[str]:
    return sorted(Path(hit["path"]).name for hit in json.loads(run(*arguments, "--json")[0])["hits"])


def test_json_keeps_its_keys(docs: Path) -> None:
    result = json.loads(run("knead the dough", "--json")[0])
    assert set(result) == {"query", "hits", "by_meaning", "seconds", "match", "notes"}
    hit = result["hits"][0]
    stable = {"path", "line", "heading", "snippet", "score", "why"}
    assert set(hit) == stable | {"marks", "meaning_marks", "chunk_id", "page", "page_kind", "match", "places"}
    assert (hit["match"], result["match"], hit["page"], hit["places"]) == ("strong", "strong", None, [])


def test_options_do_what_fields_do(docs: Path) -> None:
    assert found("dough", "--words-only") == ["bread [draft].md", "cache.py"]
    assert found("dough", "--words-only", "--type", "py") == found("dough type:py", "--words-only") == ["cache.py"]
    assert found("dough", "--words-only", "--path", "[draft]") == ["bread [draft].md"]
    assert found("dough", "--words-only", "--in", "docs", "--before", "2024") == ["bread [draft].md", "cache.py"]
    assert found("dough", "--words-only", "--after", "2024") == []
    assert "no value for --after; write 2026-01-31" in run("dough", "--after", "soon", code=2)[1]


def test_a_query_comes_from_standard_input(docs: Path) -> None:
    out, _ = run("-", "--words-only", given="prune an apple tree\n")
    assert out.startswith(f"{docs}/trees.md:1  Apple trees\n")


def test_nothing_good_is_said_and_shown_only_when_asked_for(docs: Path) -> None:
    question = "kubernetes ingress annotations for water"
    out, err = run(question)
    assert out == ""
    assert "nothing good matches; --all shows the nearest" in err
    assert "none match · words: water" in run(question, "--all")[0]
    run(question, "--fail-empty", code=1)


def test_what_is_no_filter_is_noted(docs: Path) -> None:
    assert "size: is no filter" in run("size:dough", "--words-only")[1]


def test_passages_like_one_are_found(docs: Path) -> None:
    out, _ = run("--like", f"{docs}/trees.md:3", "--all")
    assert "trees.md" not in out
    assert "has no passage in the library" in run("--like", f"{docs}/nowhere.md", code=1)[1]
    run("--like", f"{docs}/trees.md", "words too", code=2)
    run("--like", f"{docs}/trees.md", "--words-only", code=2)


def test_a_terminal_gets_links_and_two_kinds_of_marks_and_a_pipe_neither(docs: Path) -> None:
    plain, _ = run("knead bread dough")
    assert "\x1b" not in plain
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "mlx_mixer", "search", "sqlite tables and indexes"],
        stdout=follower,
        stderr=subprocess.DEVNULL,
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # Linux says so when the other side is closed
            break
        if not piece:
            break
        shown += piece
    os.close(leader)
    assert child.wait() == 0
    text = shown.decode()
    links = re.findall(r"\x1b\]8;;(file://[^\x1b]*)\x1b\\(.*?)\x1b\]8;;\x1b\\", text)
    assert (links[0][0].endswith("/docs/db.md"), "db.md:3" in links[0][1]) == (True, True)
    assert "\x1b[1mtable\x1b[0m" in text
    assert re.search(r"\x1b\[4m\w+\x1b\[0m", text)


def test_a_link_holds_whatever_a_path_holds() -> None:
    assert re.search(r";;file://[^/]*/a%20b/%C3%A9%1B%FF\.md\x1b", linked("shown", "/a b/é\x1b\udcff.md"))
