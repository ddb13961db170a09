"""The command that opens a file at a line in the user's own editor."""

import shlex
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from mlx_mixer.errors import UsageError

FALLBACKS = ("nano", "vim", "vi")

_COLON = {"hx", "helix", "subl", "zed", "lapce"}
_GOTO = {"code", "code-insiders", "codium", "cursor", "windsurf"}
_LINE_OPTION = {"idea", "pycharm", "webstorm", "kate"}
_PLUS_NAMES = """
bbedit ed emacs emacsclient gedit gvim jed jmacs joe kak less mcedit mg micro most mvim nano ne nvim pico vi view vim
vis zile
"""
_PLUS = frozenset(_PLUS_NAMES.split())


def editor_command(
    path: Path, line: int, *, environ: Mapping[str, str], which: Callable[[str], str | None] = shutil.which
) -> list[str]:
    """Return the command that opens `path` at `line`.

    Args:
        path: File to open; it is made absolute, so that no name can be taken for an option.
        line: Line, counted from 1. Editors that no convention is known for open the file at its beginning.
        environ: Where `VISUAL` and `EDITOR` are looked up, in this order.
        which: Finds a program; the first of nano, vim and vi is used if neither variable is set.

    Raises:
        UsageError: If there is no editor, or its variable cannot be read.
    """
    words = _editor_words(environ, which)
    file = str(path.absolute())
    name = Path(words[0]).name.removesuffix(".exe")
    if name in _PLUS:
        return [*words, f"+{line}", file]
    if name in _GOTO:
        # Without --wait the window opens and the command returns at once; either way the line is right.
        return [*words, "--goto", f"{file}:{line}"]
    if name in _COLON:
        return [*words, f"{file}:{line}"]
    if name in _LINE_OPTION:
        return [*words, "--line", str(line), file]
    return [*words, file]


def _editor_words(environ: Mapping[str, str], which: Callable[[str], str | None]) -> list[str]:
    for variable in ("VISUAL", "EDITOR"):
        if value := environ.get(variable, "").strip():
            try:
                words = shlex.split(value)
            except ValueError as error:
                raise UsageError(f"{variable} is {value!r}, which cannot be read as a command: {error}") from error
            if words:
                return words
    for name in FALLBACKS:
        if which(name):
            return [name]
    raise UsageError("no editor found; set VISUAL or EDITOR to the one you use")
