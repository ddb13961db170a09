"""What every kind of config shares: checks of its values, where its weights came from, and JSON in both directions."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from mlx_mixer.errors import ConfigError

PaddingSide = Literal["left", "right"]

# Far above anything trained, far below what would make an allocation of absurd size from a hostile file.
MAX_SIZE = 1 << 20
MAX_LAYERS = 1024
MAX_PARAMETERS = 1 << 36


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a model came from.

    Attributes:
        source: What the user named: a folder or file name, or `owner/name` on the Hub.
        family: The upstream family it was recognised as.
        revision: Commit of a Hub source.
        sha256: Digest of every source file read, by file name.
        hints: What had to be told because the file does not hold it.
    """

    source: str
    family: str | None = None
    revision: str | None = None
    sha256: dict[str, str] = field(default_factory=dict)
    hints: dict[str, Any] = field(default_factory=dict)  # values are JSON scalars, whatever a hint may be


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How the large matrices of a model are stored in fewer bits, in the words of mlx-lm.

    Attributes:
        bits: Bits of each value.
        group_size: Neighbouring values of a row that share a scale and an offset.
        mode: How a value follows from its bits: "affine" is scale * bits + offset.
    """

    bits: int
    group_size: int
    mode: Literal["affine"] = "affine"

    def __post_init__(self) -> None:
        for name, allowed in (("bits", (2, 3, 4, 5, 6, 8)), ("group_size", (32, 64, 128))):
            value = getattr(self, name)
            if type(value) is not int or value not in allowed:
                choices = ", ".join(map(str, allowed))
                raise ConfigError(f"quantization.{name} is {value!r}; it must be one of {choices}")
        check_choice("quantization.mode", self.mode, ("affine",))


class Config(Protocol):
    """What all kinds of config have."""

    model_type: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def num_parameters(self) -> int: ...


C = TypeVar("C", bound=Config)


def read_config(kind: type[C], values: Mapping[str, Any]) -> C:
    """Build a config from what `write_config` wrote.

    Raises:
        ConfigError: For a wrong `model_type`, an unknown key (the nearest known one is named), a missing key, or a bad
            value.
    """
    given = dict(values)
    model_type = given.pop("model_type", kind.model_type)
    if model_type != kind.model_type:
        raise ConfigError(f"model_type is {model_type!r}; expected {kind.model_type!r}")
    entries = fields(kind)
    known = [entry.name for entry in entries]
    for key in given:
        if key not in known:
            raise ConfigError(f"unknown key {key!r} in config.json{_suggestion(key, known)}")
    missing = [entry.name for entry in entries if entry.default is MISSING and entry.name not in given]
    if missing:
        raise ConfigError(f"config.json lacks {', '.join(missing)}")
    for name, part in (("provenance", Provenance), ("quantization", Quantization)):
        if given.get(name) is not None:
            given[name] = _read_part(name, part, given[name])
    return kind(**given)


def write_config(config: Config) -> dict[str, Any]:
    """Plain JSON values, `model_type` first, fields that are unset left out."""
    values = {name: value for name, value in asdict(config).items() if value is not None}
    return {"model_type": config.model_type, **values}


def check_sizes(config: Config, *names: str) -> None:
    """Check that named fields are sizes.

    Raises:
        ConfigError: If one is not a whole number from 1 to `MAX_SIZE`.
    """
    for name in names:
        check_whole(name, getattr(config, name), 1, MAX_SIZE)


def check_token_ids(config: Config, vocab_size: int, *names: str) -> None:
    """Check that named fields are unset or ids of the vocabulary.

    Raises:
        ConfigError: If one is neither.
    """
    for name in names:
        if (value := getattr(config, name)) is not None:
            check_whole(name, value, 0, vocab_size - 1)


def check_total(config: Config) -> None:
    """Refuse sizes that are allowed one by one, but not together.

    Raises:
        ConfigError: If the model would have more than `MAX_PARAMETERS` parameters.
    """
    if config.num_parameters > MAX_PARAMETERS:
        raise ConfigError(f"these sizes make {config.num_parameters:,} parameters; at most {MAX_PARAMETERS:,} are read")


def check_whole(name: str, value: object, low: int, high: int) -> None:
    """Raise `ConfigError` unless `value` is a whole number in the range, its ends included."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number from {low} to {high}")


def check_real(name: str, value: object) -> None:
    """Raise `ConfigError` unless `value` is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} is {value!r}; it must be a number above 0")


def check_flag(name: str, value: object) -> None:
    """Raise `ConfigError` unless `value` is a flag."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r}; it must be true or false")


def check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raise `ConfigError` unless `value` is one of those allowed."""
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")


def _read_part(name: str, kind: type[Provenance | Quantization], values: object) -> Provenance | Quantization:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{name} in config.json is a {type(values).__name__}; it must be a table")
    entries = fields(kind)
    known = [entry.name for entry in entries]
    for key in values:
        if key not in known:
            raise ConfigError(f"unknown key {f'{name}.{key}'!r} in config.json{_suggestion(key, known)}")
    has_default = [
        entry.name for entry in entries if entry.default is not MISSING or entry.default_factory is not MISSING
    ]
    missing = [key for key in known if key not in values and key not in has_default]
    if missing:
        raise ConfigError(f"{name} in config.json lacks {', '.join(missing)}")
    part = kind(**values)
    if isinstance(part, Provenance) and not isinstance(part.source, str):
        raise ConfigError(f"provenance.source is {part.source!r}; it must be a text")
    return part


def _suggestion(key: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
