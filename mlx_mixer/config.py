"""What a model is, as one validated, frozen value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

from mlx_mixer.config_fields import (
    MAX_LAYERS,
    MAX_SIZE,
    PaddingSide,
    Provenance,
    check_choice,
    check_flag,
    check_real,
    check_sizes,
    check_token_ids,
    check_total,
    check_whole,
    read_config,
    write_config,
)
from mlx_mixer.errors import ConfigError

TokenMixingKind = Literal["flat", "expanded", "headed", "projected"]
PoolingKind = Literal["position", "mean", "token_weighted"]


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
        check_sizes(
            self, "vocab_size", "hidden_size", "context_length", "intermediate_size", "kernel_size", "num_heads"
        )
        for name in ("token_bias", "tie_word_embeddings", "fold_case"):
            check_flag(name, getattr(self, name))
        check_whole("num_layers", self.num_layers, 1, MAX_LAYERS)
        check_token_ids(self, self.vocab_size, "pad_token_id", "bos_token_id", "eos_token_id")
        check_choice("token_mixing", self.token_mixing, get_args(TokenMixingKind))
        check_choice("pooling", self.pooling, get_args(PoolingKind))
        if self.padding_side is not None:
            check_choice("padding_side", self.padding_side, get_args(PaddingSide))
        self._check_token_mixing()
        check_real("norm_eps", self.norm_eps)
        if self.temperature is not None:
            check_real("temperature", self.temperature)
        position = self.embedding_position
        if position is not None:
            check_whole("embedding_position", position, -self.context_length, self.context_length - 1)
        check_total(self)

    def _check_token_mixing(self) -> None:
        kind = self.token_mixing
        if self.kernel_size > 1 and kind not in ("flat", "headed"):
            raise ConfigError(f"kernel_size is {self.kernel_size}, but {kind!r} token mixing has no kernel; use 1")
        if self.num_heads > 1 and kind != "headed":
            raise ConfigError(f"num_heads is {self.num_heads}, but {kind!r} token mixing has no heads; use 1")
        if self.hidden_size % self.num_heads:
            raise ConfigError(f"hidden_size {self.hidden_size} does not divide into {self.num_heads} heads")
        check_real("token_expansion", self.token_expansion)
        if kind != "expanded" and (self.token_expansion != 1.0 or not self.token_bias):
            raise ConfigError(
                f"token_expansion and token_bias=False belong to 'expanded' token mixing, not to {kind!r}"
            )
        check_whole("token_expansion * context_length", self.inner_length, 1, MAX_SIZE)

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
        return read_config(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, `model_type` first, fields that are unset left out."""
        return write_config(self)
