"""Damaged torch files: what is accepted are tensors of bytes that are in the file."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from convert.sources.pickle_program import CONSTRUCTORS
from convert.sources.torch_file import TorchFile
from convert.sources.weight_file import FLOAT_BYTES
from mlx_mixer.errors import ConversionError
from tests.convert.files import pickled
from tests.fuzz import campaign
from tests.fuzz.archives import Member, assemble, make, members
from tests.fuzz.pickles import state, would_call


def test_archives(tmp_path: Path) -> None:
    path = tmp_path / "in" / "model.bin"
    path.parent.mkdir()

    def read(raw: bytes) -> bool:
        file = TorchFile(path)
        try:
            read_all(file, raw)
        finally:
            file.close()
        return True

    path.write_bytes(assemble(members(pickled(state()))))
    assert read(path.read_bytes())
    tally = campaign.run("torch file", make, read, tmp_path, place=path.write_bytes)
    assert tally.accepted > tally.inputs // 50
    assert tally.refused > tally.inputs // 4


def read_all(file: TorchFile, raw: bytes) -> None:
    """Read every tensor and compare with what Python's own reader finds in the archive."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        called = would_call(archive.read(next(name for name in archive.namelist() if name.endswith("/data.pkl"))))
        stored = b"".join(_content(archive, name) for name in archive.namelist() if "/data/" in name)
    assert called <= CONSTRUCTORS.keys(), f"accepted, although it calls {called}"
    total = 0
    for name, info in file.tensors.items():
        if info.dtype not in FLOAT_BYTES:
            continue
        array = file.read(name)
        assert array.shape == info.shape
        total += array.size
        if info.dtype == "F32" and array.size:
            assert np.ascontiguousarray(array).reshape(-1)[:1].tobytes() in stored
    assert total <= len(raw) * 8


def _content(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError):
        return b""  # ours must refuse it when it is read, or never need it


def test_the_archives_of_these_tests_are_archives(tmp_path: Path) -> None:
    """Python reads them too, those with data descriptors included, and so does our reader."""
    entries = members(pickled(state()))
    for entry in entries:
        entry.has_descriptor = True
    raw = assemble(entries)
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        assert archive.testzip() is None
    (tmp_path / "m.bin").write_bytes(raw)
    file = TorchFile(tmp_path / "m.bin")
    assert file.read("c").shape == ()
    file.close()


LIES = {
    "a compressed member": ([Member(b"archive/data/3", bytes(1 << 20), method=8)], "compressed"),
    "an encrypted member": ([Member(b"archive/data/3", bytes(9), flags=1)], "encrypted"),
    "a member twice": ([Member(b"archive/data/0", bytes(32))], "twice"),
    "a member under two folders": ([Member(b"other/data/0", bytes(32))], "twice"),
    "a member beyond the end": ([Member(b"archive/data/3", bytes(9), offset=1 << 20)], "beyond its end"),
    "a member of 4 GB": ([Member(b"archive/data/3", b"", size=0xFFFFFFFE)], "larger than the file"),
    "a zip64 size": (
        [Member(b"archive/data/3", b"", size=0xFFFFFFFF, extra=b"\1\0\x10\0" + b"\xff\xff\xff\x7f\0\0\0\0" * 2)],
        "larger than the file",
    ),
    "members over each other": ([Member(b"archive/data/3", b"", offset=4, size=16)], "over each other"),
    "a member in another format": ([Member(b"archive/arr_0.npy", b"")], "NumPy archive"),
    "TorchScript": ([Member(b"archive/constants.pkl", b"")], "TorchScript"),
}


@pytest.mark.parametrize("name", LIES)
def test_archives_that_lie_are_refused(name: str, tmp_path: Path) -> None:
    more, message = LIES[name]
    (tmp_path / "m.bin").write_bytes(assemble([*members(pickled(state())), *more]))
    with pytest.raises(ConversionError, match=message):
        TorchFile(tmp_path / "m.bin")
