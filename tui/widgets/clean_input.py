"""One line of typed or pasted text, cleaned."""

from textual.widgets import Input

from mlx_mixer.safe_text import safe_line

MAX_CHARACTERS = 4096
"""Longer pastes into one line are cut; nobody reads on a line what is longer."""


class CleanInput(Input):
    """An `Input` whose value never holds a control character and is never longer than `MAX_CHARACTERS`."""

    def on_mount(self) -> None:
        self.cursor_blink = False

    def validate_value(self, value: str) -> str:
        return safe_line(value[:MAX_CHARACTERS])
