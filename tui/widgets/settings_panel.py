"""The sampling settings beside the text. A value counts as soon as it is valid; until then the last valid one stays."""

from dataclasses import dataclass
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input

from mlx_mixer.errors import UsageError
from mlx_mixer.sampling import SamplingSettings
from tui.settings_fields import FIELDS, SettingField, changed, shown
from tui.widgets.clean_input import CleanInput
from tui.widgets.plain import Plain, plain


class SettingsPanel(Vertical):
    """One line for each setting, and below them what the current one does or what is wrong with it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f2", "close", "Close", id="settings.close", tooltip="Close the settings."),
        Binding("down,enter", "app.focus_next", "Next", show=False),
        Binding("up", "app.focus_previous", "Previous", show=False),
    ]

    @dataclass
    class Changed(Message):
        """The settings are now these."""

        settings: SamplingSettings

    class Closed(Message):
        """The user is done."""

    def __init__(self, settings: SamplingSettings) -> None:
        super().__init__()
        self._settings = settings

    def compose(self) -> ComposeResult:
        yield Plain(plain("Settings", "bold"), classes="panel-title")
        for field in FIELDS:
            with Horizontal(classes="setting"):
                yield Plain(field.label, classes="setting-label")
                placeholder = "random" if field.name == "seed" else ""
                yield CleanInput(shown(self._settings, field), placeholder=placeholder, compact=True, id=field.name)
        yield Plain("", id="setting-note")

    def open(self) -> None:
        """Show the panel and go to its first line."""
        self.display = True
        self.query_one(f"#{FIELDS[0].name}").focus()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if event.widget.id:
            self._explain(_field(event.widget.id))

    @on(Input.Changed)
    def _read(self, event: Input.Changed) -> None:
        event.stop()
        field = _field(event.input.id or "")
        try:
            settings = changed(self._settings, field, event.value)
        except UsageError as error:
            event.input.add_class("-wrong")
            self._note(plain(f"✗ {error}", "$text-error"))
            return
        event.input.remove_class("-wrong")
        self._explain(field)
        if settings != self._settings:
            self._settings = settings
            self.post_message(self.Changed(settings))

    def action_close(self) -> None:
        # A line that was left invalid shows again what is in force.
        for entry in self.query(CleanInput):
            entry.value = shown(self._settings, _field(entry.id or ""))
        self.display = False
        self.post_message(self.Closed())

    def _explain(self, field: SettingField) -> None:
        self._note(plain(field.hint, "$text-muted"))

    def _note(self, text: Content) -> None:
        self.query_one("#setting-note", Plain).show(text)


def _field(name: str) -> SettingField:
    return next(field for field in FIELDS if field.name == name)
