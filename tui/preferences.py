"""Choices that are remembered between starts: theme, model, and writing settings. Losing them loses nothing else."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from mlx_mixer.atomic import write_atomically
from mlx_mixer.errors import UsageError
from mlx_mixer.sampling import SamplingSettings

NAME = "app.json"


@dataclass(frozen=True)
class Preferences:
    """What the user chose last.

    Attributes:
        theme: Name of the theme.
        model: Folder of the model; None is the bundled one.
        settings: How the next continuation is written.
    """

    theme: str = "ink"
    model: Path | None = None
    settings: SamplingSettings = field(default_factory=SamplingSettings)


def load_preferences(folder: Path) -> Preferences:
    """Return what was remembered; anything that cannot be read, or is no longer allowed, falls back to its default."""
    try:
        stored = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Preferences()
    if not isinstance(stored, dict):
        return Preferences()
    theme, model = stored.get("theme"), stored.get("model")
    return Preferences(
        theme=theme if isinstance(theme, str) else Preferences.theme,
        model=Path(model) if isinstance(model, str) else None,
        settings=_settings(stored.get("settings")),
    )


def save_preferences(folder: Path, preferences: Preferences) -> None:
    """Remember choices.

    Raises:
        OSError: If they cannot be written.
    """
    model = None if preferences.model is None else str(preferences.model)
    stored = {"theme": preferences.theme, "model": model, "settings": asdict(preferences.settings)}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / NAME, json.dumps(stored, indent=2).encode())


def _settings(stored: object) -> SamplingSettings:
    names = {each.name for each in fields(SamplingSettings)}
    if not isinstance(stored, dict) or not set(stored) <= names:
        return SamplingSettings()
    try:
        return SamplingSettings(**stored)
    except UsageError:
        return SamplingSettings()
