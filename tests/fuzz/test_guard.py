"""The judges of the fuzz tests judge: each of them is shown the fault that it is there for."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlx_mixer.errors import ConversionError
from tests.fuzz import campaign
from tests.fuzz.guard import GuardBrokenError, watched
from tests.fuzz.mutate import damage_bytes, mutated_json


def spin() -> None:
    end = time.process_time() + 2
    while time.process_time() < end:
        pass


FAULTS: dict[str, Callable[[Path], object]] = {
    "a write": lambda folder: (folder / "a").write_text("x"),
    "an append": lambda folder: (folder / "a").open("a").close(),
    "a low-level write": lambda folder: os.open(folder / "a", os.O_CREAT | os.O_WRONLY),
    "a folder": lambda folder: (folder / "b").mkdir(),
    "a removal": lambda folder: (folder / "kept").unlink(),
    "a renaming": lambda folder: (folder / "kept").rename(folder / "c"),
    "a link": lambda folder: (folder / "d").symlink_to("/"),
    "a program": lambda _: subprocess.run([sys.executable, "-V"], check=False),
    "a shell": lambda _: os.system("true"),
    "a module": lambda _: __import__("this_module_is_not_there"),
    "code": lambda _: eval("1 + 1"),
    "a busy loop": lambda _: spin(),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_guard_notices(name: str, tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    with pytest.raises(GuardBrokenError), watched(None, 0.1):
        FAULTS[name](tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]


def test_a_guard_lets_the_output_folder_be_written(tmp_path: Path) -> None:
    with watched(tmp_path, 5):
        (tmp_path / "a").write_text("x")
    with pytest.raises(GuardBrokenError), watched(tmp_path, 5):
        (tmp_path / ".." / "a").write_text("x")


def test_a_guard_knows_names_within_an_open_folder(tmp_path: Path) -> None:
    for name in ("inside", "outside"):
        (tmp_path / name / "tree").mkdir(parents=True)
        (tmp_path / name / "tree" / "file").touch()
    with watched(tmp_path / "inside", 5):
        shutil.rmtree(tmp_path / "inside" / "tree")
    with pytest.raises(GuardBrokenError), watched(tmp_path / "inside", 5):
        shutil.rmtree(tmp_path / "outside" / "tree")
    assert (tmp_path / "outside" / "tree" / "file").exists()


def fails(read: Callable[[bytes], bool], folder: Path) -> str:
    with pytest.raises(AssertionError) as caught:
        campaign.run("some reader", lambda generator: generator.randbytes(9), read, folder)
    return str(caught.value)


def test_a_failure_names_its_seed_and_keeps_its_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FUZZ_INPUTS", raising=False)
    monkeypatch.setenv("FUZZ_FAILURES", str(tmp_path / "kept"))
    monkeypatch.setenv("FUZZ_SEED", "7")

    def third_is_bad(raw: bytes) -> bool:
        if raw == random.Random("some reader 7 3").randbytes(9):
            raise KeyError("x")
        return True

    message = fails(third_is_bad, tmp_path)
    assert "input 3 of seed 7" in message
    assert "KeyError" in message
    (kept,) = (tmp_path / "kept").iterdir()
    assert kept.read_bytes() == random.Random("some reader 7 3").randbytes(9)
    assert str(kept) in message


def refused(message: str) -> bool:
    raise ConversionError(message)


def test_messages_memory_and_errors_are_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FUZZ_FAILURES", raising=False)
    assert "printable line" in fails(lambda _: refused("a\nb"), tmp_path)
    assert "printable line" in fails(lambda _: refused("\x1b[31m"), tmp_path)
    assert "characters" in fails(lambda _: refused("a" * 1000), tmp_path)
    for _ in range(2):  # the second time too, when the process has held as much before
        assert "bytes of memory" in fails(lambda _: bool(b"x" * (200 << 20)), tmp_path)
    assert "RecursionError" in fails(lambda _: deep(), tmp_path)


def deep() -> bool:
    return deep()


def test_the_same_seed_makes_the_same_inputs() -> None:
    def made() -> list[bytes]:
        return [
            mutated_json(random.Random(number), lambda: {"a": [1, {"b": "c"}], "d": None}) for number in range(200)
        ] + [damage_bytes(random.Random(number), bytes(50)) for number in range(200)]

    assert made() == made()
    assert len(set(made())) > 250
