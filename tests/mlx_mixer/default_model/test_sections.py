"""The script that makes training pairs of documentation packages."""

import gzip
import io
import json
import runpy
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from mlx_mixer.checkpoint import default_model_path

SCRIPT = default_model_path().parent / "sections.py"
TRIMMING = (
    "When the folder grows above its limit, what was read longest ago goes first, until nine tenths of the limit are "
    "reached. A file that is open at that time is left alone, and it is looked at again an hour later by the same rule."
)
LOCKING = (
    "Only one process writes at a time, and the others wait for it with a limit that is set in the file of settings. "
    "If the writer dies, the lock goes with it, and the next process looks at the log to see what is to be taken back."
)
UNPACKING = (
    "What comes in an archive is unpacked into a folder of its own, where no name in it reaches anything outside, and "
    "it is moved to its place when all of it is there. If the disk is full by then, the folder is removed as it stands."
)
PAGE = f"""<html><body><nav>Home</nav><h1>1. The cache</h1><p>{LOCKING}</p>
<h2>1.2 How entries are <em>removed</em></h2><p>{TRIMMING}</p><h2>Short</h2><p>Too short.</p></body></html>"""


def write_deb(path: Path, pages: dict[str, str]) -> None:
    """A package as `dpkg-deb` lays it out: an ar archive of three members."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as archive:
        for name, text in pages.items():
            entry = tarfile.TarInfo(f"./usr/share/doc/{name}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
        link = tarfile.TarInfo("./usr/share/doc/link.html")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": data.getvalue()}
    with path.open("wb") as file:
        file.write(b"!<arch>\n")
        for name, content in members.items():
            file.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode())
            file.write(content + b"\n" * (len(content) % 2))


def page_of(text: str) -> str:
    return f"<html><body><h1>A heading</h1><p>{text}</p></body></html>"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def read(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_pages_become_headings_and_their_sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_deb(tmp_path / "a-doc_1_all.deb", {"a/index.html": PAGE})
    run(monkeypatch, tmp_path, tmp_path / "out.jsonl.gz")
    records = {record["passage"]: record for record in read(tmp_path / "out.jsonl.gz")}
    assert set(records) == {LOCKING, TRIMMING}
    assert records[TRIMMING]["query_raw"] == "The cache > How entries are removed"
    assert records[TRIMMING]["query_hard"] == "How entries are removed"
    assert records[LOCKING]["group"] == "a-doc:usr/share/doc/a/index.html"


def test_what_is_held_out_and_what_was_said_before_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_deb(tmp_path / "a-doc_1_all.deb", {"a/index.html": PAGE})
    write_deb(
        tmp_path / "b-doc_1_all.deb", {"b/index.html": PAGE.replace(LOCKING, LOCKING[::-1] + " the of to is and")}
    )
    valid = tmp_path / "valid.jsonl.gz"
    with gzip.open(valid, "wt", encoding="utf-8") as file:
        file.write(json.dumps({"passage": TRIMMING}))
    run(monkeypatch, tmp_path, tmp_path / "out.jsonl.gz", "--without", valid)
    assert [record["passage"] for record in read(tmp_path / "out.jsonl.gz")] == [LOCKING]
    other = tmp_path / "other.jsonl.gz"
    run(monkeypatch, tmp_path, tmp_path / "out.jsonl.gz", "--held-out", "a-doc", "--held-out-to", other)
    assert {record["passage"] for record in read(other)} == {LOCKING, TRIMMING}
    # The second package says of trimming what the first said.
    assert read(tmp_path / "out.jsonl.gz") == []


def test_what_earlier_files_said_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_deb(tmp_path / "a-doc_1_all.deb", {"a/index.html": PAGE})
    earlier = tmp_path / "earlier.jsonl.gz"
    # Less than two fifths of the one section, more of the other.
    said = f"{LOCKING[: len(LOCKING) // 3]} {TRIMMING[: len(TRIMMING) * 2 // 3]}"
    with gzip.open(earlier, "wt", encoding="utf-8") as file:
        file.write(json.dumps({"passage": said}))
    run(monkeypatch, tmp_path, tmp_path / "out.jsonl.gz", "--seen", earlier)
    assert [record["passage"] for record in read(tmp_path / "out.jsonl.gz")] == [LOCKING]


def test_a_little_of_many_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = page_of(LOCKING), page_of(TRIMMING) + "<!-- nothing -->" * 50
    write_deb(tmp_path / "a-doc_1_all.deb", {"a/small.html": small, "a/large.html": large, "a/genindex.html": small})
    noise = "".join(f"{number * number:x}" for number in range(2000))
    write_deb(tmp_path / "b-doc_1_all.deb", {"b/more.html": page_of(UNPACKING), "b/noise": noise})
    least, most = sorted(deb.stat().st_size for deb in tmp_path.glob("*.deb"))

    def passages(*options: object) -> set[str]:
        run(monkeypatch, tmp_path, tmp_path / "out.jsonl.gz", *options)
        return {record["passage"] for record in read(tmp_path / "out.jsonl.gz")}

    assert passages() == passages("--deb-bytes", most) == {LOCKING, TRIMMING, UNPACKING}
    assert passages("--deb-bytes", most - 1) == {LOCKING, TRIMMING}
    assert passages("--deb-bytes", least - 1) == set()
    assert passages("--page-bytes", len(large)) == {LOCKING, TRIMMING, UNPACKING}
    assert passages("--page-bytes", len(large) - 1) == {LOCKING, UNPACKING}
    # The first by the sha256 of "./usr/share/doc/a/large.html" and "./usr/share/doc/a/small.html".
    assert passages("--pages", 1) == {LOCKING, UNPACKING}
    assert passages("--pages", 2) == {LOCKING, TRIMMING, UNPACKING}
    assert len(passages("--most", 1)) == 2
    assert passages("--most", 0) == set()


def test_what_is_no_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a-doc_1_all.deb").write_bytes(b"!<arch>\n")
    with pytest.raises(SystemExit, match=r"a-doc_1_all\.deb holds no data\.tar"):
        run(monkeypatch, tmp_path, tmp_path / "out.jsonl.gz")
