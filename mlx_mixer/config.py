"""What a model is, as one validated, frozen value."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal, Self, get_args

from mlx_mixer.errors import ConfigError

TokenMixingKind = Literal["flat", "expanded", "headed", "projected"]
PoolingKind = Literal["position", "mean", "token_weighted"]
PaddingSide = Literal["left", "right"]

# Far above anything trained, far below what would make an allocation of absurd size from a hostile file.
_REQUIRED = ("vocab_size", "hidden_size", "num_layers", "context_length", "intermediate_size")
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
class LanguageMixerConfig:
    """A causal masked mixer that writes and embeds.

    Attributes:
        vocab_size: Number of token ids, V.
        hidden_size: Width of the residual stream, D.
        num_layers: Number of blocks.
        context_length: Longest sequence the token-mixing weights cover, in tokens.
        intermediate_size: Inner width of the channel mixing.
        token_mixing: How positions are mixed; see `mlx_mixer.layers.token_mixing`.
        kernel_size: Taps over the feature axis ("flat" and "headed").
        num_heads: Heads of "headed" token mixing; divides `hidden_size`.
        token_expansion: Inner rows of "expanded" token mixing divided by `context_length`.
        token_bias: Whether "expanded" token mixing has biases; the other kinds always do.
        tie_word_embeddings: Whether the output head is the embedding matrix.
        norm_eps: Added to the variance in every LayerNorm.
        padding_side: Where short training texts were padded; `None` if unknown.
        pad_token_id: Id used for that padding.
        bos_token_id: Id put before a text, if the model was trained with one.
        eos_token_id: Id that ends a text.
        pooling: How hidden states become one embedding; see `mlx_mixer.embedding`.
        embedding_position: For "position" pooling: index of the state taken, negative from the end of the window
            (left padding) or of the real tokens (right padding).
        fold_case: Whether texts are lower-cased and their white space collapsed before they are embedded (not before
            they are continued).
        temperature: InfoNCE temperature of training, for information.
        provenance: Where the weights came from.
    """

    model_type: ClassVar[str] = "language_mixer"

    vocab_size: int
    hidden_size: int
    num_layers: int
    context_length: int
    intermediate_size: int
    token_mixing: TokenMixingKind = "flat"
    kernel_size: int = 1
    num_heads: int = 1
    token_expansion: float = 1.0
    token_bias: bool = True
    tie_word_embeddings: bool = False
    norm_eps: float = 1e-5
    padding_side: PaddingSide | None = None
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pooling: PoolingKind = "position"
    embedding_position: int | None = None
    fold_case: bool = False
    temperature: float | None = None
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        for name in ("vocab_size", "hidden_size", "context_length", "intermediate_size", "kernel_size", "num_heads"):
            _check_whole(name, getattr(self, name), 1, MAX_SIZE)
        _check_whole("num_layers", self.num_layers, 1, MAX_LAYERS)
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            if (value := getattr(self, name)) is not None:
                _check_whole(name, value, 0, self.vocab_size - 1)
        _check_choice("token_mixing", self.token_mixing, get_args(TokenMixingKind))
        _check_choice("pooling", self.pooling, get_args(PoolingKind))
        if self.padding_side is not None:
            _check_choice("padding_side", self.padding_side, get_args(PaddingSide))
        self._check_token_mixing()
        _check_real("norm_eps", self.norm_eps)
        if self.temperature is not None:
            _check_real("temperature", self.temperature)
        position = self.embedding_position
        if position is not None:
            _check_whole("embedding_position", position, -self.context_length, self.context_length - 1)
        if self.num_parameters > MAX_PARAMETERS:
            raise ConfigError(
                f"these sizes make {self.num_parameters:,} parameters; at most {MAX_PARAMETERS:,} are read"
            )

    def _check_token_mixing(self) -> None:
        kind = self.token_mixing
        if self.kernel_size > 1 and kind not in ("flat", "headed"):
            raise ConfigError(f"kernel_size is {self.kernel_size}, but {kind!r} token mixing has no kernel; use 1")
        if self.num_heads > 1 and kind != "headed":
            raise ConfigError(f"num_heads is {self.num_heads}, but {kind!r} token mixing has no heads; use 1")
        if self.hidden_size % self.num_heads:
            raise ConfigError(f"hidden_size {self.hidden_size} does not divide into {self.num_heads} heads")
        _check_real("token_expansion", self.token_expansion)
        if kind != "expanded" and (self.token_expansion != 1.0 or not self.token_bias):
            raise ConfigError(
                f"token_expansion and token_bias=False belong to 'expanded' token mixing, not to {kind!r}"
            )
        _check_whole("token_expansion * context_length", self.inner_length, 1, MAX_SIZE)

    @property
    def inner_length(self) -> int:
        """Inner rows of "expanded" token mixing."""
        return round(self.token_expansion * self.context_length)

    @property
    def num_parameters(self) -> int:
        """Number of trainable values; the masked half of a square mixing matrix is counted as stored."""
        length, dims = self.context_length, self.hidden_size
        mixing = {
            "flat": length * length * self.kernel_size + length,
            "expanded": 2 * length * self.inner_length + (length + self.inner_length) * self.token_bias,
            "headed": self.num_heads * (length * length * self.kernel_size + length) + 2 * (dims * dims + dims),
            "projected": length * length + length + dims * dims + dims,
        }[self.token_mixing]
        channel = 2 * dims * self.intermediate_size + dims + self.intermediate_size
        pooling = (self.vocab_size + self.num_layers + 1) * (self.pooling == "token_weighted")
        tables = self.vocab_size * dims * (1 if self.tie_word_embeddings else 2)
        return tables + self.num_layers * (mixing + channel + 4 * dims) + pooling

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a config from what `to_dict` wrote.

        Raises:
            ConfigError: For a wrong `model_type`, an unknown key (the nearest known one is named), a missing key, or
                a bad value.
        """
        given = dict(values)
        model_type = given.pop("model_type", cls.model_type)
        if model_type != cls.model_type:
            raise ConfigError(f"model_type is {model_type!r}; this version reads {cls.model_type!r}")
        known = [entry.name for entry in fields(cls)]
        for key in given:
            if key not in known:
                raise ConfigError(f"unknown key {key!r} in config.json{_suggestion(key, known)}")
        if isinstance(given.get("provenance"), Mapping):
            given["provenance"] = _provenance(given["provenance"])
        try:
            return cls(**given)
        except TypeError as error:
            missing = [name for name in _REQUIRED if name not in given]
            raise ConfigError(f"config.json lacks {', '.join(missing)}") from error

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, `model_type` first, fields that are unset left out."""
        values = {name: value for name, value in asdict(self).items() if value is not None}
        return {"model_type": self.model_type, **values}


def _provenance(values: Mapping[str, Any]) -> Provenance:
    known = [entry.name for entry in fields(Provenance)]
    for key in values:
        if key not in known:
            raise ConfigError(f"unknown key 'provenance.{key}' in config.json{_suggestion(key, known)}")
    if not isinstance(values.get("source"), str):
        raise ConfigError("provenance in config.json lacks its source")
    return Provenance(**values)


def _suggestion(key: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def _check_whole(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number from {low} to {high}")


def _check_real(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} is {value!r}; it must be a number above 0")


def _check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")
