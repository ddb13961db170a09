"""Where the product keeps its files. Nothing is created here; `mlx-mixer paths` prints these."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """The three folders everything lives in.

    Attributes:
        config: Settings written by the user.
        data: The document library and converted models.
        state: Logs and remembered choices, safe to delete.
    """

    config: Path
    data: Path
    state: Path

    @property
    def library(self) -> Path:
        return self.data / "library.sqlite3"

    @property
    def models(self) -> Path:
        return self.data / "models"

    @property
    def log(self) -> Path:
        return self.state / "mlx-mixer.log"

    @property
    def chat_history(self) -> Path:
        """The questions that were typed at `mlx-mixer chat`."""
        return self.state / "chat_history"


def default_paths(environ: Mapping[str, str] | None = None) -> Paths:
    """Folders by the XDG base directory rules, on every platform alike.

    Args:
        environ: Environment to read; the process's own if omitted. `MLX_MIXER_HOME` puts all three folders below one.
    """
    environ = os.environ if environ is None else environ
    if home := environ.get("MLX_MIXER_HOME"):
        root = Path(home).expanduser()
        return Paths(config=root / "config", data=root / "data", state=root / "state")
    user = Path(environ["HOME"]) if environ.get("HOME") else Path.home()

    def folder(variable: str, default: str) -> Path:
        value = environ.get(variable, "")
        # The XDG specification says to ignore relative paths.
        base = Path(value) if value.startswith("/") else user / default
        return base / "mlx-mixer"

    return Paths(
        config=folder("XDG_CONFIG_HOME", ".config"),
        data=folder("XDG_DATA_HOME", ".local/share"),
        state=folder("XDG_STATE_HOME", ".local/state"),
    )
