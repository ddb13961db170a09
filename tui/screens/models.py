"""The model picker: folders on this computer, a line for the path of another one, and the way to the Hub."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from mlx_mixer.errors import MixerError
from tui.models_on_disk import ModelFolder, describe_model, size_text
from tui.screens.hub import HubDialog
from tui.screens.path_dialog import PathInput, PathSuggester
from tui.widgets.plain import Plain, plain, plain_line, short_path


@dataclass(frozen=True)
class Choice:
    """The folder chosen; None is the bundled model."""

    path: Path | None


class ModelPicker(ModalScreen[Choice | None]):
    """Returns the choice, or None if there was none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="dialog.cancel"),
        Binding("slash", "find", "Find", id="model.find", tooltip="Find a model on the Hugging Face Hub."),
        Binding(
            "delete,backspace", "remove", "Remove", id="model.remove", tooltip="Remove a model from this computer."
        ),
    ]
    AUTO_FOCUS = "OptionList"

    def __init__(self, models: Sequence[ModelFolder], current: Path | None) -> None:
        super().__init__()
        self._models = list(models)
        self._current = current
        self._doomed: Path | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Plain(plain("Models on this computer", "bold"), classes="panel-title")
            yield OptionList(*(Option(model_content(model, self._current)) for model in self._models), compact=True)
            yield Plain(plain("Another folder", "bold"), classes="panel-title")
            yield PathInput(placeholder="~/models/name", compact=True, suggester=PathSuggester(folders_only=True))
            yield Plain(plain(_NOTE, "$text-muted"), id="dialog-note")
            yield Plain(plain(_KEYS, "$text-muted"), classes="dialog-keys")

    def on_mount(self) -> None:
        paths = [model.path for model in self._models]
        if self._models:
            self.query_one(OptionList).highlighted = paths.index(self._current) if self._current in paths else 0
        else:
            self.query_one(PathInput).focus()

    def action_cancel(self) -> None:
        """Keep what was about to be removed; else leave."""
        if self._doomed is not None:
            self._doomed = None
            self._note(plain(_NOTE, "$text-muted"))
            return
        self.dismiss(None)

    def action_find(self) -> None:
        # Two dialogs over each other are hard to read.
        self.query_one(".dialog").visible = False
        self.app.push_screen(HubDialog(), self._fetched)

    def action_remove(self) -> None:
        """Ask, and remove when asked again."""
        place = self.query_one(OptionList).highlighted
        if place is None:
            return
        model = self._models[place]
        if model.path is None or model.path == self._current:
            what = "the bundled model stays" if model.path is None else "it is in use; choose another one first"
            self._note(plain_line(f"✗ {model.name} cannot be removed: {what}", "$text-error"))
        elif model.path == self._doomed:
            self._remove(model.path)
        else:
            self._doomed = model.path
            size = size_text(model.size_bytes)
            self._note(plain_line(f"Remove {model.name} ({size}) for good? Delete does it, Esc keeps it.", "bold"))

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        if self._doomed is not None and self._models[event.option_index].path != self._doomed:
            self._doomed = None
            self._note(plain(_NOTE, "$text-muted"))

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(Choice(self._models[event.option_index].path))

    @on(Input.Submitted)
    def _choose_typed(self, event: Input.Submitted) -> None:
        path = Path(event.value.strip()).expanduser().absolute()
        try:
            describe_model(path)
        except MixerError as error:
            self._note(plain(f"✗ {error}", "$text-error"))
            return
        self.dismiss(Choice(path))

    def _fetched(self, path: Path | None) -> None:
        self.query_one(".dialog").visible = True
        if path is not None:
            self.dismiss(Choice(path))

    @work(exclusive=True)
    async def _remove(self, path: Path) -> None:
        from convert.hub.installed import remove_model

        self._doomed = None
        try:
            await asyncio.to_thread(remove_model, path.parent, path.name)
        except MixerError as error:
            self._note(plain(f"✗ {error}", "$text-error"))
            return
        place = [model.path for model in self._models].index(path)
        del self._models[place]
        self.query_one(OptionList).remove_option_at_index(place)
        self._note(plain_line(f"{path.name} is removed.", "$text-muted"))

    def _note(self, text: Content) -> None:
        self.query_one("#dialog-note", Plain).show(text)


_NOTE = "A folder with config.json, model.safetensors and tokenizer.json."
_KEYS = "Enter use   / find more   Del remove   Tab folder   Esc cancel"


def model_content(model: ModelFolder, current: Path | None) -> Content:
    """Return two lines about a model; a tick marks the one in use."""
    tick = plain("✓ ") if model.path == current else plain("  ")
    context = f"{model.context_length} tokens" if model.context_length else "context unknown"
    facts = f"  {size_text(model.size_bytes)} · {context} · {model.family}"
    where = "comes with mlx-mixer" if model.path is None else short_path(model.path)
    first = tick + plain_line(model.name, "bold") + plain_line(facts, "$text-muted")
    return Content("\n").join([first, plain_line(f"  {where}", "$text-muted")])
