"""`docs` and `search` as a user runs them: in an empty home, offline, with odd files."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mlx_mixer.documents.library import Library
from mlx_mixer.paths import default_paths
from tests.mlx_mixer.documents.helpers import needs_any_name, write_tree
from tests.processes import start

TREE = {
    "guide.md": "# Guide\n\n## Cache\n\nThe cache is trimmed from its end.\n",
    "code/mixer.py": "def trim_cache(count):\n    return count\n",
    "photo.png": b"\x89PNG",
    "esc.md": "# Escape\n\nA \x1b]0;title\x07 sequence.\n",
}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "docs", TREE)


def run(*arguments: str, code: int = 0, **environment: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "mlx_mixer", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def run_json(*arguments: str, code: int = 0) -> Any:
    return json.loads(run(*arguments, "--json", code=code)[0])


def test_files_are_added_listed_found_and_removed(docs: Path) -> None:
    out, err = run("docs", "add", str(docs), "--words-only")
    assert out == "3 added, 1 left out\n"
    assert "1 not text (.png)" in err
    assert [Path(row["path"]).name for row in run_json("docs", "list")["documents"]] == [
        "mixer.py",
        "esc.md",
        "guide.md",
    ]
    assert run_json("docs", "list", "--left-out")["left_out"][0]["reason"] == "not text (.png)"
    hit = run_json("search", "trimmed", "from", "the", "end", "--words-only")["hits"][0]
    assert set(hit) >= {"path", "line", "heading", "snippet", "score", "why"}
    assert (hit["path"], hit["line"], hit["heading"]) == (str(docs / "guide.md"), 5, "Guide › Cache")
    assert [hit["snippet"][start:end] for start, end in hit["marks"]] == ["trimmed", "end"]
    assert run("docs", "rm", str(docs / "code"))[0] == "removed 1 document from the library\n"
    assert run_json("docs", "status")["documents"] == 2
    assert run("docs", "add", "--words-only")[0] == "1 added, 2 unchanged, 1 left out\n"


def test_text_for_people_cannot_act_on_the_terminal(docs: Path) -> None:
    run("docs", "add", str(docs), "--words-only")
    out, _ = run("search", "escape sequence", "--words-only")
    assert "\x1b" not in out
    assert f"{docs / 'esc.md'}:1  Escape\n    # Escape A ␛]0;title␇ sequence.\n    words: " in out


@needs_any_name
def test_a_name_that_is_not_utf8_does_not_break_any_output(tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", {"caf\udce9.txt": "needle"})
    run("docs", "add", str(docs), "--words-only")
    assert os.fsencode(run_json("search", "needle", "--words-only")["hits"][0]["path"]).endswith(b"caf\xe9.txt")
    assert "caf\ufffd.txt:1" in run("search", "needle", "--words-only", PYTHONIOENCODING="utf-8")[0]
    run("docs", "list")
    run_json("docs", "list")
    run_json("docs", "add")


def test_the_bundled_model_finds_by_meaning_in_an_empty_home(docs: Path) -> None:
    out, err = run("docs", "add", str(docs))
    assert out == "3 added, 1 left out\n3 passages embedded, 0 known already\n"
    assert "working with words only" not in err
    assert run_json("docs", "status")["pending"] == 0
    result = run_json("search", "trimmed from the end")
    assert result["by_meaning"]
    assert result["hits"][0]["path"] == str(docs / "guide.md")
    assert " · meaning 0." in result["hits"][0]["why"]
    assert run("docs", "add", str(docs))[0] == "3 unchanged, 1 left out\n"


def test_without_its_model_search_goes_on_with_words_and_says_so(docs: Path, tmp_path: Path) -> None:
    """A folder in front of the real package's modules stands for an MLX that does not load."""
    broken = write_tree(tmp_path / "broken", {"mlx/__init__.py": "raise ImportError('no MLX for this machine')\n"})
    environment = {"PYTHONPATH": os.pathsep.join([str(broken), os.environ.get("PYTHONPATH", ""), str(Path.cwd())])}
    out, err = run("docs", "add", str(docs), **environment)
    assert "3 added" in out
    assert "working with words only: no MLX for this machine" in err
    out, err = run("search", "trimmed from the end", "--json", **environment)
    assert json.loads(out)["hits"][0]["line"] == 5
    assert "working with words only" in err


def test_failures_end_with_exit_code_1(docs: Path) -> None:
    out, err = run("docs", "add", str(docs / "nowhere"), str(docs), "--words-only", code=1)
    assert "3 added" in out
    assert f"not read: {docs / 'nowhere'}: no such file or folder" in err
    assert run("search", "zeppelin", "--words-only")[1] == "nothing found\n"
    run("search", "zeppelin", "--words-only", "--fail-empty", code=1)


def test_ctrl_c_ends_with_130_and_keeps_what_was_done(tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", {f"{n}.txt": f"needle {n} " * 40 for n in range(3000)})
    command = [sys.executable, "-m", "mlx_mixer", "docs", "add", str(docs), "--words-only"]
    child = start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with Library(default_paths().library) as library:
        while library.status().documents == 0:
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=20)
        assert (child.returncode, "Traceback" in err) == (130, False)
        kept = library.status().documents
        assert 0 < kept < 3000
        assert library.add([docs]).unchanged == kept


def test_an_empty_library_says_how_to_fill_it() -> None:
    assert "mlx-mixer docs add PATH" in run("search", "x", "--words-only")[1]
    assert run_json("search", "x", "--words-only")["hits"] == []
    assert "mlx-mixer docs add PATH" in run("docs", "list")[1]
    run("search", code=2)
    run("docs", "rm", code=2)


def test_nothing_is_drawn_where_there_is_no_terminal(docs: Path) -> None:
    _, err = run("docs", "add", str(docs), "--words-only")
    assert "\r" not in err
    assert "\x1b" not in err


def test_status_tells_health_and_a_damaged_library_is_mended_on_request(docs: Path) -> None:
    run("docs", "add", str(docs), "--words-only")
    assert "health     found sound just now, copied just now\n" in run("docs", "status")[0]
    library = default_paths().library
    library.write_bytes(library.read_bytes()[:30_000])
    assert "mend it with: mlx-mixer docs repair" in run("search", "trimmed", "--words-only", code=1)[1]
    out, _ = run("docs", "repair")
    assert "restored from" in out
    assert "the damaged file is kept as" in out
    assert run_json("docs", "repair") == {
        "faults": [], "rebuilt_words": False, "kept_as": None, "restored_from": None, "refresh": None
    }  # fmt: skip
    assert run_json("docs", "retry", str(docs), "--words-only")["unchanged"] == 3


def test_watching_finds_changes_while_another_process_searches_and_ends_quietly(docs: Path) -> None:
    run("docs", "add", str(docs), "--words-only")
    child = start(
        [sys.executable, "-m", "mlx_mixer", "docs", "watch", "--words-only"], stderr=subprocess.PIPE, text=True
    )
    assert child.stderr is not None
    assert child.stderr.readline() == "watching; Ctrl+C ends it\n"
    with Library(default_paths().library) as library:
        deadline = time.monotonic() + 60
        while library.status().watcher != child.pid or not library.search("fresh arrival").hits:
            assert time.monotonic() < deadline
            (docs / "fresh.md").write_text("# Fresh arrival\n")
            time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    assert child.wait(30) == 0
    assert child.stderr.read().endswith("not watching any more; what was done is kept\n")
    child.stderr.close()
    assert run_json("docs", "status")["watcher"] is None
