"""A dialog that asks for a path and completes it from the disk."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Input

from mlx_mixer.errors import MixerError
from mlx_mixer.safe_text import safe_line
from tui.widgets.clean_input import CleanInput
from tui.widgets.plain import Plain, plain, short_path

MAX_ENTRIES = 5000
"""A folder with more entries is completed from its first ones: looking must stay below a frame."""

Check = Callable[[Path], None]
"""Raises `MixerError`, with one line, if a path will not do."""


class PathSuggester(Suggester):
    """Completes the last part of a path."""

    def __init__(self, *, folders_only: bool) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._folders_only = folders_only

    async def get_suggestion(self, value: str) -> str | None:
        return complete_path(value, folders_only=self._folders_only)


def complete_path(typed: str, *, folders_only: bool) -> str | None:
    """Return `typed` with its last part completed, or None. Names that hold control characters are never offered."""
    head, slash, start = typed.rpartition("/")
    folder = Path(f"{head}{slash}" or ".").expanduser()
    names = sorted(name for name in _names(folder, folders_only) if name.startswith(start) and safe_line(name) == name)
    visible = [name for name in names if start.startswith(".") or not name.startswith(".")]
    if not visible or not typed:
        return None
    return f"{head}{slash}{visible[0]}{'/' if (folder / visible[0]).is_dir() else ''}"


def _names(folder: Path, folders_only: bool) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            first = [entry for entry, _ in zip(entries, range(MAX_ENTRIES), strict=False)]
            return [entry.name for entry in first if not folders_only or entry.is_dir()]
    except OSError:
        return []


class PathInput(CleanInput):
    """A path; Tab, like Right, takes the completion."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "cursor_right", "Complete", show=False)]


class PathDialog(ModalScreen[Path | None]):
    """Returns the path chosen, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel", id="dialog.cancel")]

    def __init__(self, title: str, hint: str, check: Check, *, start: str = "", folders_only: bool = False) -> None:
        super().__init__()
        self._title = title
        self._hint = hint
        self._check = check
        self._start = start
        self._folders_only = folders_only

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Plain(plain(self._title, "bold"), classes="panel-title")
            yield PathInput(
                self._start,
                placeholder="~/notes",
                compact=True,
                suggester=PathSuggester(folders_only=self._folders_only),
            )
            yield Plain(plain(self._hint, "$text-muted"), id="dialog-note")
            yield Plain(plain("Enter accept   Tab complete   Esc cancel", "$text-muted"), classes="dialog-keys")

    def on_mount(self) -> None:
        entry = self.query_one(PathInput)
        entry.cursor_position = len(entry.value)

    def action_cancel(self) -> None:
        self.dismiss(None)

    @on(Input.Changed)
    def _forget_problem(self) -> None:
        self.query_one("#dialog-note", Plain).show(plain(self._hint, "$text-muted"))

    @on(Input.Submitted)
    def _accept(self, event: Input.Submitted) -> None:
        path = Path(event.value.strip() or ".").expanduser()
        try:
            self._check(path)
        except MixerError as error:
            self.query_one("#dialog-note", Plain).show(plain(f"✗ {error}", "$text-error"))
            return
        self.dismiss(path.absolute())


def check_readable(path: Path) -> None:
    """Accept what can be added to the library.

    Raises:
        MixerError: If there is nothing there, or it may not be read.
    """
    if not path.exists():
        raise MixerError(f"{short_path(path)} does not exist")
    if not os.access(path, os.R_OK):
        raise MixerError(f"{short_path(path)} may not be read")


def check_new_file(path: Path) -> None:
    """Accept a file that does not exist yet, in a folder that does.

    Raises:
        MixerError: If something is there already, or there is no such folder.
    """
    if path.exists():
        raise MixerError(f"{short_path(path)} exists already")
    if not path.absolute().parent.is_dir():
        raise MixerError(f"{short_path(path.absolute().parent)} is not a folder")
