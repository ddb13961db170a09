"""What a document's parser does costs that document alone."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlx_mixer.documents.reader_process import ProcessLimits, ReaderProcess
from mlx_mixer.documents.readers import reader_for
from mlx_mixer.documents.structure import ReadDocument
from mlx_mixer.documents.unreadable import UnreadableError
from mlx_mixer.documents.wire import WireError, unpack_reply
from tests.mlx_mixer.documents.formats.written import pdf

PDF = reader_for(b"a.pdf")


@pytest.fixture(scope="module")
def readers() -> Iterator[ReaderProcess]:
    with ReaderProcess() as process:
        yield process


def test_text_is_read_without_a_child() -> None:
    with ReaderProcess() as process:
        document, encoding = process.read_file_content(b"caf\xe9 noir", reader_for(b"a.txt"))
        assert (document.text, encoding) == ("café noir", "cp1252")
        assert process.child_id is None


def test_one_child_reads_many_files(readers: ReaderProcess) -> None:
    children = set()
    for number in range(3):
        document, _ = readers.read_file_content(pdf([f"page about otter {number}"]), PDF)
        assert document.text.strip() == f"page about otter {number}"
        children.add(readers.child_id)
    assert len(children) == 1


def test_a_killed_child_costs_one_file(readers: ReaderProcess) -> None:
    readers.read_file_content(pdf(["before"]), PDF)
    first = readers.child_id
    assert first is not None
    os.kill(first, signal.SIGSTOP)  # so that it dies over the next file
    murder = threading.Timer(0.3, os.kill, (first, signal.SIGKILL))
    murder.start()
    with pytest.raises(UnreadableError, match=r"crashed the reader \(SIGKILL\)"):
        readers.read_file_content(pdf(["during"]), PDF)
    murder.join()
    document, _ = readers.read_file_content(pdf(["after"]), PDF)
    assert document.text.strip() == "after"
    assert readers.child_id != first


def test_a_child_that_died_idle_costs_nothing(readers: ReaderProcess) -> None:
    readers.read_file_content(pdf(["before"]), PDF)
    assert readers.child_id is not None
    os.kill(readers.child_id, signal.SIGKILL)
    time.sleep(0.1)
    assert readers.read_file_content(pdf(["after"]), PDF)[0].text.strip() == "after"


def test_a_hanging_child_is_killed_in_time() -> None:
    with ReaderProcess(ProcessLimits(seconds=0.5)) as process:
        process.start()
        assert process.child_id is not None
        os.kill(process.child_id, signal.SIGSTOP)
        with pytest.raises(UnreadableError, match=r"took longer than 0\.5 s"):
            process.read_file_content(pdf(["never read"]), PDF)
        assert process.child_id is None


def test_the_child_ends_with_a_killed_parent(tmp_path: Path) -> None:
    program = (
        "from mlx_mixer.documents.reader_process import ReaderProcess\n"
        "process = ReaderProcess(); process.start(); print(process.child_id, flush=True)\n"
        "import time; time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    for _ in range(200):
        try:
            state = Path(f"/proc/{child}/stat").read_text() if sys.platform == "linux" else ""
            os.kill(child, 0)
        except (ProcessLookupError, FileNotFoundError):
            break
        if ") Z " in state:  # dead, and nobody here to collect it
            break
        time.sleep(0.05)
    else:
        pytest.fail("the child outlived its parent by ten seconds")


def test_the_child_imports_neither_mlx_nor_a_screen() -> None:
    program = (
        "import sys\n"
        "import mlx_mixer.documents.reader_child\n"
        "heavy = {'mlx.core', 'numpy', 'textual', 'rich', 'click'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_child_that_grew_large_is_not_kept(readers: ReaderProcess) -> None:
    readers.start()
    first = readers.child_id
    cell = '{"cell_type": "markdown", "source": "' + "words " * 3_000_000 + '😀"}'
    readers.read_file_content(f'{{"cells": [{cell}]}}'.encode(), reader_for(b"a.ipynb"))
    assert readers.child_id is None
    readers.read_file_content(pdf(["next"]), PDF)
    assert readers.child_id not in (None, first)


def test_a_file_that_is_too_large_is_not_sent() -> None:
    with ReaderProcess() as process:
        with pytest.raises(UnreadableError, match="larger than 0 MB"):
            process.read_file_content(b"x" * 10, PDF._replace(max_bytes=9))
        assert process.child_id is None


def test_a_child_that_cannot_start_is_a_reason_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with ReaderProcess() as process, pytest.raises(UnreadableError, match="could not be started"):
        process.read_file_content(pdf(["never read"]), PDF)


FORM = {
    "text": "ab",
    "title": "",
    "sections": [[0]],
    "blocks": [],
    "pages": [],
    "page_kind": "",
    "note": "",
    "encoding": "",
}
OUT_OF_FORM = [
    {"text": ""},
    {"text": 1},
    {"text": "a\x00\r\n"},
    {"sections": [[1]]},
    {"sections": []},
    {"sections": [[0], [2]]},
    {"sections": [[0, 7]]},
    {"blocks": [[0, 9]]},
    {"blocks": [[1, 0]]},
    {"pages": [0, 7]},
    {"pages": [True]},
    {"page_kind": "chapter"},
    {"note": None},
]
BROKEN = [b"", b"[]", b"{}", b'{"reason": 1}', b"\xff", b"[" * 100_000]


@pytest.mark.parametrize(
    "reply",
    [*BROKEN, *(json.dumps(FORM | change).encode() for change in OUT_OF_FORM)],
    ids=lambda reply: str(reply[:60]),
)
def test_a_reply_out_of_form_is_refused(reply: bytes) -> None:
    assert unpack_reply(json.dumps(FORM).encode()) == (ReadDocument("ab"), "")
    with pytest.raises(WireError):
        unpack_reply(reply)
