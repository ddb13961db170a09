"""Files and folders appear whole or not at all."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_mixer.atomic import atomic_directory, write_atomically
from mlx_mixer.errors import UsageError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_and_private(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(tmp_path) == ["settings"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "settings"
    write_atomically(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["settings"]


def test_a_folder_appears_when_its_block_ends(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "model"
    with atomic_directory(out) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a").write_text("1")
        assert not out.exists()
    assert (out / "sub" / "a").read_text() == "1"
    assert names(out.parent) == ["model"]


def test_a_failed_block_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_directory(tmp_path / "model") as folder:
            (folder / "a").write_text("1")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError):
        fail()
    assert names(tmp_path) == []


def test_an_existing_folder_is_not_replaced_unless_empty(tmp_path: Path) -> None:
    out = tmp_path / "model"
    out.mkdir()
    with atomic_directory(out) as folder:
        (folder / "a").write_text("1")
    with pytest.raises(UsageError, match="already exists"), atomic_directory(out):
        pytest.fail("the block must not run")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="already exists"), atomic_directory(tmp_path / "file"):
        pytest.fail("the block must not run")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_killed_process_leaves_nothing_that_looks_like_the_folder(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from mlx_mixer.atomic import atomic_directory\n"
        "with atomic_directory(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'config.json').write_text('{}'); print('written', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "model")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (tmp_path / "model").exists()
    assert all(name.startswith(".") and name.endswith(".partial") for name in names(tmp_path))
