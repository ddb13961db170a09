"""A walk finds what is worth reading, says why it leaves the rest, and cannot be led astray."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlx_mixer.documents.filebytes import UNSETTLED, content_hash, read_file
from mlx_mixer.documents.rules import content_reason, file_reason, folder_reason
from mlx_mixer.documents.scan import MAX_FILE_BYTES, Found, LeftOut, is_evicted, scan
from mlx_mixer.documents.unreadable import UnreadableError
from tests.mlx_mixer.documents.helpers import OLD_NS, needs_any_name, write_tree


def found(root: Path) -> list[str]:
    return [os.fsdecode(item.path).removeprefix(f"{root}/") for item in scan(bytes(root)) if isinstance(item, Found)]


def left_out(root: Path) -> dict[str, str]:
    items = [item for item in scan(bytes(root)) if isinstance(item, LeftOut)]
    return {os.fsdecode(item.path).removeprefix(f"{root}/"): item.reason for item in items}


def test_files_are_found_in_order_of_name_with_their_facts(tmp_path: Path) -> None:
    write_tree(tmp_path, {"b.md": "b", "a/z.txt": "12345", "a/b/c.py": "x", "c": "no suffix"})
    assert found(tmp_path) == ["b.md", "c", "a/z.txt", "a/b/c.py"]
    item = next(item for item in scan(bytes(tmp_path)) if item.path.endswith(b"z.txt"))
    assert item == Found(bytes(tmp_path / "a/z.txt"), 5, OLD_NS, (tmp_path / "a/z.txt").stat().st_ino)


def test_what_is_left_out_has_a_reason(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {
            ".git/config": "x", "node_modules/a.js": "x", "env/pyvenv.cfg": "x", "env/lib/a.py": "x", ".hidden": "x",
            "cache/CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55", "cache/a.txt": "x",
            "photo.JPG": "x", "book.msg": "x", "empty.txt": "", ".env": "x", "server.pem": "x", ".ssh/id_rsa": "x",
            "id_ed25519.pub": "x", "good.txt": "x",
        },
    )  # fmt: skip
    with (tmp_path / "large.log").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    assert found(tmp_path) == ["good.txt"]
    assert left_out(tmp_path) == {
        ".git": "hidden", "node_modules": "a folder of tools", "env": "a Python environment", ".hidden": "hidden",
        "cache": "a cache folder", "photo.JPG": "not text (.jpg)", "book.msg": ".msg files cannot be read yet",
        "empty.txt": "empty", ".env": "may hold secrets", "server.pem": "may hold secrets", ".ssh": "may hold secrets",
        "id_ed25519.pub": "may hold secrets", "large.log": "larger than 20 MB",
    }  # fmt: skip


def test_the_users_own_choice_may_be_hidden_but_not_secret(tmp_path: Path) -> None:
    write_tree(tmp_path, {".config/notes/a.txt": "x", ".config/.profile": "x", ".config/x.key": "x"})
    assert found(tmp_path / ".config") == ["notes/a.txt"]
    assert len(found(tmp_path / ".config/.profile")) == 1
    assert list(left_out(tmp_path / ".config/x.key").values()) == ["may hold secrets"]


def test_links_devices_and_pipes_are_not_followed(tmp_path: Path) -> None:
    write_tree(tmp_path, {"real/a.txt": "x"})
    (tmp_path / "real/loop").symlink_to(tmp_path)
    (tmp_path / "root").symlink_to("/")
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    (tmp_path / "dangling.txt").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.txt")
    assert found(tmp_path) == ["real/a.txt"]
    reasons = left_out(tmp_path)
    assert reasons["pipe.txt"] == "not a regular file"
    assert {reasons[name] for name in ("real/loop", "root", "zero.txt", "dangling.txt")} == {"a symbolic link"}


@pytest.fixture
def deep_tree(tmp_path: Path) -> Iterator[Path]:
    """1,500 folders inside each other, taken apart again: Python 3.11's rmtree would exhaust the stack."""
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    yield tmp_path
    while (tmp_path / "d/d").is_dir():
        (tmp_path / "d/d").rename(tmp_path / "rest")
        (tmp_path / "d").rmdir()
        (tmp_path / "rest").rename(tmp_path / "d")


def test_a_tree_deeper_than_pythons_stack_is_walked(deep_tree: Path) -> None:
    write_tree(deep_tree, {"shallow.txt": "x"})
    assert found(deep_tree) == ["shallow.txt"]
    assert list(left_out(deep_tree).values()) == ["nested too deeply"]


@needs_any_name
def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    name = b"caf\xe9\xff.txt"
    write_tree(tmp_path, {os.fsdecode(name): "x"})
    assert [item.path for item in scan(bytes(tmp_path))] == [bytes(tmp_path) + b"/" + name]


def test_a_missing_root_is_reported(tmp_path: Path) -> None:
    assert list(scan(bytes(tmp_path / "gone"))) == [
        LeftOut(bytes(tmp_path / "gone"), "no such file or directory", unreadable=True)
    ]


def test_a_file_whose_content_is_elsewhere_is_told_by_having_no_blocks(tmp_path: Path) -> None:
    write_tree(tmp_path, {"here.txt": "x" * 5000})
    with (tmp_path / "evicted.txt").open("wb") as file:
        file.truncate(5000)  # a size without blocks, as macOS shows it
    assert is_evicted(os.lstat(tmp_path / "evicted.txt"))
    assert not is_evicted(os.lstat(tmp_path / "here.txt"))


def test_reading_refuses_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableError, match="regular"):
        read_file(bytes(tmp_path / "pipe"), now_ns=0)
    write_tree(tmp_path, {"a.txt": "x"})
    (tmp_path / "link").symlink_to(tmp_path / "a.txt")
    with pytest.raises(OSError, match="link"):
        read_file(bytes(tmp_path / "link"), now_ns=0)


def test_a_file_touched_just_now_is_not_trusted_to_stay(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a.txt": "x"})
    path = bytes(tmp_path / "a.txt")
    assert read_file(path, now_ns=OLD_NS + 3_000_000_000).mtime_ns == OLD_NS
    assert read_file(path, now_ns=OLD_NS + 1_000_000_000).mtime_ns == UNSETTLED


def test_a_file_that_grows_while_it_is_read_is_read_to_its_end_and_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path, {"a.txt": "x"})
    read, rest = os.read, ["y" * 3_000_000, "z"]

    def reading(descriptor: int, size: int) -> bytes:
        if rest:
            with (tmp_path / "a.txt").open("a") as file:
                file.write(rest.pop(0))
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", reading)
    file = read_file(bytes(tmp_path / "a.txt"), now_ns=OLD_NS + 3_000_000_000)
    assert file.data == b"x" + b"y" * 3_000_000 + b"z"
    assert file.mtime_ns == UNSETTLED
    rest.append("w" * 5_000_000)
    with pytest.raises(UnreadableError, match="larger than 4 MB"):
        read_file(bytes(tmp_path / "a.txt"), now_ns=0, max_bytes=4_000_000)


def test_equal_bytes_have_equal_hashes() -> None:
    assert content_hash(b"a") == content_hash(b"a") != content_hash(b"b")
    assert len(content_hash(b"a")) == 16


@pytest.mark.parametrize("name", [b".env.local", b"prod.env", b"id_rsa", b"KEY.PEM", b"vault.kdbx", b"secrets.yml"])
def test_names_of_secrets_are_known(name: bytes) -> None:
    assert file_reason(name) == "may hold secrets"


@pytest.mark.parametrize("name", [b"environment.md", b"keys.py", b"a.b.c", b"README", b"[/].md", b"\x1b[1m.txt"])
def test_ordinary_names_are_read(name: bytes) -> None:
    assert file_reason(name) is None
    assert folder_reason(name) is None


def test_a_private_key_under_an_innocent_name_is_a_secret() -> None:
    assert content_reason(b"note\n-----BEGIN RSA PRIVATE KEY-----\nMII") is not None
    assert content_reason(b"-----BEGIN PUBLIC KEY-----\nMII") is None
    assert content_reason(b'PATTERN = "-----BEGIN PRIVATE KEY-----"') is None
