from pathlib import Path

import pytest

from mlx_mixer.errors import UsageError
from tui.editor import editor_command


def nothing(_: str) -> None:
    return None


@pytest.mark.parametrize(
    ("editor", "expected"),
    [
        ("vim", ["vim", "+12", "/a/b.md"]),
        ("nano -w", ["nano", "-w", "+12", "/a/b.md"]),
        ("/usr/bin/emacsclient -t", ["/usr/bin/emacsclient", "-t", "+12", "/a/b.md"]),
        ("hx", ["hx", "/a/b.md:12"]),
        ("code --wait", ["code", "--wait", "--goto", "/a/b.md:12"]),
        ("subl -w", ["subl", "-w", "/a/b.md:12"]),
        ("pycharm", ["pycharm", "--line", "12", "/a/b.md"]),
        ("'/opt/my editor/vim'", ["/opt/my editor/vim", "+12", "/a/b.md"]),
        ("my-own-editor", ["my-own-editor", "/a/b.md"]),
    ],
)
def test_each_editor_is_told_the_line_in_its_own_way(editor: str, expected: list[str]) -> None:
    assert editor_command(Path("/a/b.md"), 12, environ={"EDITOR": editor}, which=nothing) == expected


def test_visual_comes_before_editor_and_editor_before_what_is_installed() -> None:
    both = {"VISUAL": "hx", "EDITOR": "vim"}
    assert editor_command(Path("/f"), 1, environ=both, which=nothing)[0] == "hx"
    assert editor_command(Path("/f"), 1, environ={"VISUAL": " ", "EDITOR": "vim"}, which=nothing)[0] == "vim"
    assert editor_command(Path("/f"), 1, environ={}, which=lambda name: name if name == "vi" else None)[0] == "vi"


def test_a_name_that_looks_like_an_option_is_made_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert editor_command(Path("-c:q"), 1, environ={"EDITOR": "vim"})[-1] == str(tmp_path / "-c:q")


def test_no_editor_at_all_is_said_with_the_remedy() -> None:
    with pytest.raises(UsageError, match="set VISUAL or EDITOR"):
        editor_command(Path("/f"), 1, environ={}, which=nothing)


def test_an_editor_with_an_open_quote_is_said_with_its_value() -> None:
    with pytest.raises(UsageError, match=r'EDITOR is .vim "'):
        editor_command(Path("/f"), 1, environ={"EDITOR": 'vim "'}, which=nothing)
