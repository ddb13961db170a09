"""Ignore files are read as git reads them: the real git is asked about every pattern and path."""

import os
import random
import subprocess
from pathlib import Path

import pytest

from mlx_mixer.documents.ignore import IgnoreFile, IgnoreRules
from mlx_mixer.documents.scan import Found, LeftOut, scan
from tests.mlx_mixer.documents.helpers import write_tree

NAMES = ["a", "b", "ab", "build", "x.py", "x.pyc", "a b", "[x]", "a-b", "é", "A", "z9", "!a", "#a", "a ", "a\\b"]


def git(folder: Path, *arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, env=environment, **options)  # type: ignore[call-overload, no-any-return]


def ignored_by_git(folder: Path, paths: list[str]) -> set[str]:
    asked = git(folder, "check-ignore", "-z", "--stdin", "--no-index", input="\0".join(paths).encode())
    assert asked.returncode in (0, 1), asked.stderr
    return {os.fsdecode(path) for path in asked.stdout.split(b"\0") if path}


def ignored_by_us(folder: Path, paths: list[str]) -> set[str]:
    """Go down to each path as a walk does, and stop at the first folder left out."""
    ignored = set()
    for path in paths:
        rules = IgnoreRules()
        parts = path.split("/")
        for depth, part in enumerate(parts):
            rules = rules.entering(bytes(folder.joinpath(*parts[:depth])))
            here = folder.joinpath(*parts[: depth + 1])
            if rules.reason(bytes(here), part.encode(), is_folder=here.is_dir()):
                ignored.add(path)
                break
    return ignored


def random_glob(rng: random.Random) -> str:
    pieces = [
        "a",
        "b",
        "x",
        "*",
        "**",
        "?",
        "/",
        "/**/",
        "**/",
        "/**",
        "[ab]",
        "[!a]",
        "[^x-z]",
        "[a-",
        "[]a]",
        "[[:alpha:]]",
    ]
    pieces += ["\\a", "\\*", ".py", "build", " ", "\\ ", "[\\]]", "[z-a]", "é", "-", "[a\\-b]", "[[:digit:]x]", "\\\\"]
    glob = "".join(rng.choice(pieces) for _ in range(rng.randrange(1, 5)))
    return rng.choice(["", "", "", "!", "/", "#", "\\!", "\\#"]) + glob + rng.choice(["", "", "/", " ", "\r"])


def random_tree(rng: random.Random, folder: Path) -> list[str]:
    paths = {rng.choice(NAMES)}
    for _ in range(20):
        base = rng.choice(["", *sorted(paths)])
        path = f"{base}/{rng.choice(NAMES)}".lstrip("/")
        if path.count("/") < 4:
            paths.add(path)
    parents = {path.rsplit("/", 1)[0] for path in paths if "/" in path}
    for path in sorted(paths, key=len):
        (folder / path).mkdir(parents=True) if path in parents else (folder / path).touch()
    return sorted(paths)


@pytest.mark.parametrize("seed", range(20))
def test_random_patterns_say_what_git_says(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    git(tmp_path, "init", "-q")
    paths = random_tree(rng, tmp_path)
    folders = [path for path in paths if (tmp_path / path).is_dir()]
    for folder in ["", *rng.sample(folders, min(3, len(folders)))]:
        lines = "\n".join(random_glob(rng) for _ in range(rng.randrange(1, 9)))
        (tmp_path / folder / ".gitignore").write_text(lines)
    rules = {
        path: (tmp_path / path / ".gitignore").read_bytes()
        for path in ["", *folders]
        if (tmp_path / path / ".gitignore").exists()
    }
    assert ignored_by_us(tmp_path, paths) == ignored_by_git(tmp_path, paths), rules


TREE = {
    ".gitignore": "*.log\n!keep.log\n/out/\ndocs/*\n!docs/api\nbuild\n",
    "keep.log": "x", "a.log": "x", "logs/keep.log": "x", "logs/b.log": "x",
    "out/a.txt": "x", "src/out/a.txt": "x", "docs/a.md": "x", "docs/api/b.md": "x", "src/build/c.txt": "x",
    "src/.gitignore": "!b.log\n*.tmp\n", "src/b.log": "x", "src/d.tmp": "x", "d.tmp": "x",
    "sub/.gitignore": "*\n!.gitignore\n!good.txt\n", "sub/good.txt": "x", "sub/bad.txt": "x",
}  # fmt: skip


def found(root: Path) -> set[str]:
    return {os.fsdecode(item.path).removeprefix(f"{root}/") for item in scan(bytes(root)) if isinstance(item, Found)}


def test_a_walk_finds_what_git_would_list(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write_tree(tmp_path, TREE)
    (tmp_path / ".git/info/exclude").write_text("d.tmp\n")
    listed = git(tmp_path, "ls-files", "-z", "--others", "--exclude-standard").stdout
    assert found(tmp_path) == {os.fsdecode(path) for path in listed.split(b"\0") if path and b".gitignore" not in path}
    reasons = {
        os.fsdecode(item.path).removeprefix(f"{tmp_path}/"): item.reason
        for item in scan(bytes(tmp_path))
        if isinstance(item, LeftOut)
    }
    assert reasons["a.log"] == reasons["src/build"] == "left out by .gitignore"
    assert reasons["d.tmp"] == "left out by .git/info/exclude"
    assert "src/build/c.txt" not in reasons


def test_a_walk_of_a_part_of_a_work_tree_keeps_its_rules(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write_tree(tmp_path, TREE)
    assert found(tmp_path / "src") == {"out/a.txt", "b.log"}
    assert found(tmp_path / "docs/api") == {"b.md"}


def test_a_folder_that_the_user_names_is_read_whatever_the_rules_above_say(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write_tree(tmp_path, TREE)
    assert found(tmp_path / "src/build") == {"c.txt"}


def test_another_repository_inside_begins_afresh(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "inner"):
        folder.mkdir(exist_ok=True)
        git(folder, "init", "-q")
    write_tree(tmp_path, {".gitignore": "*.txt\n", "a.txt": "x", "inner/b.txt": "x"})
    assert found(tmp_path) == {"inner/b.txt"}


def test_our_own_file_goes_before_gits(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {".gitignore": "*.log\n", ".mixerignore": "!important.log\nprivate/\n", "a.log": "x", "important.log": "x",
         "private/a.txt": "x", "a.txt": "x"},
    )  # fmt: skip
    assert found(tmp_path) == {"important.log", "a.txt"}


def test_an_ignore_file_that_is_a_pipe_or_a_link_is_no_rule(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a.txt": "x", "rules": "*"})
    os.mkfifo(tmp_path / ".gitignore")
    (tmp_path / ".mixerignore").symlink_to("rules")
    assert found(tmp_path) == {"a.txt", "rules"}


def test_patterns_that_would_take_a_regular_expression_long_do_not(tmp_path: Path) -> None:
    rules = IgnoreFile(b"/r", b"a*a*a*a*a*a*a*b\n" + b"**/x/**/x/**/y\n", ".gitignore")
    assert rules.leaves_out(b"/r/" + b"a" * 60, b"a" * 60, is_folder=False) is None
    assert rules.leaves_out(b"/r/" + b"x/" * 60 + b"z", b"z", is_folder=False) is None
