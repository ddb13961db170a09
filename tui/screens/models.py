"""The model picker: folders on this computer, and a line for the path of another one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from mlx_mixer.errors import MixerError
from tui.models_on_disk import ModelFolder, describe_model, size_text
from tui.screens.path_dialog import PathInput, PathSuggester
from tui.widgets.plain import Plain, plain, plain_line, short_path


@dataclass(frozen=True)
class Choice:
    """The folder chosen; None is the bundled model."""

    path: Path | None


class ModelPicker(ModalScreen[Choice | None]):
    """Returns the choice, or None if there was none."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel", id="dialog.cancel")]
    AUTO_FOCUS = "OptionList"

    def __init__(self, models: Sequence[ModelFolder], current: Path | None) -> None:
        super().__init__()
        self._models = models
        self._current = current

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Plain(plain("Models on this computer", "bold"), classes="panel-title")
            yield OptionList(*(Option(model_content(model, self._current)) for model in self._models), compact=True)
            yield Plain(plain("Another folder", "bold"), classes="panel-title")
            yield PathInput(placeholder="~/models/name", compact=True, suggester=PathSuggester(folders_only=True))
            yield Plain(plain(_NOTE, "$text-muted"), id="dialog-note")
            yield Plain(plain("Enter use   Tab another folder   Esc cancel", "$text-muted"), classes="dialog-keys")

    def on_mount(self) -> None:
        paths = [model.path for model in self._models]
        if self._models:
            self.query_one(OptionList).highlighted = paths.index(self._current) if self._current in paths else 0
        else:
            self.query_one(PathInput).focus()

    def action_cancel(self) -> None:
        self.dismiss(None)

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(Choice(self._models[event.option_index].path))

    @on(Input.Submitted)
    def _choose_typed(self, event: Input.Submitted) -> None:
        path = Path(event.value.strip()).expanduser().absolute()
        try:
            describe_model(path)
        except MixerError as error:
            self.query_one("#dialog-note", Plain).show(plain(f"✗ {error}", "$text-error"))
            return
        self.dismiss(Choice(path))


_NOTE = "A folder with config.json, model.safetensors and tokenizer.json."


def model_content(model: ModelFolder, current: Path | None) -> Content:
    """Return two lines about a model; a tick marks the one in use."""
    tick = plain("✓ ") if model.path == current else plain("  ")
    context = f"{model.context_length} tokens" if model.context_length else "context unknown"
    facts = f"  {size_text(model.size_bytes)} · {context} · {model.family}"
    where = "comes with mlx-mixer" if model.path is None else short_path(model.path)
    first = tick + plain_line(model.name, "bold") + plain_line(facts, "$text-muted")
    return Content("\n").join([first, plain_line(f"  {where}", "$text-muted")])
