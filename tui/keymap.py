"""Which key does what; users bind commands anew in the table `[keymap]` of `config.toml`.

For example `"write.continue" = "ctrl+j"`. All defaults pass plain terminals: no Ctrl+Enter, no Alt, nothing that is a
control character of another key. Control with I, M, H and `[` are Tab, Enter, Backspace and Escape to a terminal;
Control with an arrow belongs to the system on a Mac.
"""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from textual.binding import Binding

from mlx_mixer.errors import ConfigError

FILE_NAME = "config.toml"

DEFAULT_KEYS: Mapping[str, str] = {
    "write.continue": "tab,f5",
    "write.stop": "escape",
    "write.retry": "ctrl+r",
    "write.settings": "f2",
    "text.edit": "ctrl+g",
    "text.save": "ctrl+s",
    "passage.open": "enter",
    "passage.copy": "c",
    "search.query": "slash",
    "search.like": "m",
    "docs.add": "ctrl+n",
    "chat.ask": "enter",
    "chat.stop": "escape",
    "chat.docs": "f8",
    "chat.prompt": "f9",
    "chat.new": "ctrl+n",
    "source.open": "enter",
    "source.switch": "space",
    "model.choose": "ctrl+l",
    "view.write": "f3",
    "view.search": "f4",
    "view.chat": "f6",
    "view.other": "ctrl+t",
    "app.help": "f1",
    "app.quit": "ctrl+q",
}

_NAMES = {"escape": "Esc", "slash": "/", "space": "Space", "ctrl": "Ctrl", "shift": "Shift", "pageup": "PgUp"}


@dataclass(frozen=True)
class Keys:
    """The keys in force.

    Attributes:
        chosen: What the user bound anew, id to keys.
    """

    chosen: Mapping[str, str] = field(default_factory=dict)

    def name(self, command: str) -> str:
        """Return the key of a command as people write it, for example "Ctrl+L"."""
        return key_name(self.chosen.get(command, DEFAULT_KEYS[command]))


def key_name(keys: str) -> str:
    """Return the first of some keys as people write it."""
    first = keys.partition(",")[0]
    return "+".join(_NAMES.get(part, part.capitalize()) for part in first.strip().split("+"))


def bind(command: str, action: str, label: str, about: str, *, show: bool = True, priority: bool = False) -> Binding:
    """Declare a command once: its key, its name in the footer and the palette, its line in the help."""
    return Binding(DEFAULT_KEYS[command], action, label, id=command, tooltip=about, show=show, priority=priority)


def load_keys(folder: Path) -> Keys:
    """Read the user's own keys.

    Raises:
        ConfigError: If the file cannot be read as TOML, or names a command that does not exist; one line with the
        remedy.
    """
    file = folder / FILE_NAME
    try:
        with file.open("rb") as stream:
            keymap = tomllib.load(stream).get("keymap", {})
    except FileNotFoundError:
        return Keys()
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    if not isinstance(keymap, dict):
        raise ConfigError(f"{file}: keymap must be a table of commands and keys")
    for command, keys in keymap.items():
        _check(file, command, keys)
    return Keys(keymap)


def _check(file: Path, command: str, keys: object) -> None:
    if command not in DEFAULT_KEYS:
        near = difflib.get_close_matches(command, DEFAULT_KEYS, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(DEFAULT_KEYS)}"
        raise ConfigError(f"{file}: keymap has no command {command!r}{hint}")
    if not isinstance(keys, str) or not keys.strip():
        raise ConfigError(f'{file}: the key of {command} must be text such as "{DEFAULT_KEYS[command]}"')
