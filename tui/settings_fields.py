"""The writing settings as lines to edit: label, text shown, and text read back."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from mlx_mixer.errors import UsageError
from mlx_mixer.sampling import SamplingSettings


@dataclass(frozen=True)
class SettingField:
    """One line of the settings panel.

    Attributes:
        name: Field of `SamplingSettings`.
        label: What the panel calls it.
        hint: What it does and which values it takes, in one short line.
        parse: Text to value.
    """

    name: str
    label: str
    hint: str
    parse: Callable[[str], float | int | None]


def _seed(text: str) -> int | None:
    return int(text) if text.strip() else None


FIELDS = (
    SettingField("temperature", "Temperature", "0 is the likeliest word, 1 is bold", float),
    SettingField("top_p", "Top-p", "Share of likely tokens kept, 0 to 1", float),
    SettingField("top_k", "Top-k", "Likeliest tokens kept, 0 keeps all", int),
    SettingField("repetition_penalty", "Repetition", "Above 1 avoids repeats, 1 is off", float),
    SettingField("max_tokens", "Max tokens", "Longest continuation", int),
    SettingField("seed", "Seed", "Same seed, same text. Empty: random", _seed),
)


def shown(settings: SamplingSettings, field: SettingField) -> str:
    """The value of a field as text to edit."""
    value = getattr(settings, field.name)
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def changed(settings: SamplingSettings, field: SettingField, text: str) -> SamplingSettings:
    """Return the settings with one field read from `text`.

    Raises:
        UsageError: One line that says what was received and what is allowed.
    """
    try:
        value = field.parse(text)
    except ValueError:
        kind = "number" if field.parse is float else "whole number"
        raise UsageError(f"{field.label} must be a {kind}, not {text.strip()[:20]!r}") from None
    try:
        return SamplingSettings(**{**asdict(settings), field.name: value})
    except UsageError as error:
        raise UsageError(str(error).replace(f"{field.name} is", f"{field.label} is", 1)) from None
