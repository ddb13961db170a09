"""The config of a bidirectional mixer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, get_args

from mlx_mixer.config_fields import (
    MAX_LAYERS,
    PaddingSide,
    Provenance,
    Quantization,
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


@dataclass(frozen=True, kw_only=True)
class BidirectionalMixerConfig:
    """A token predictor that sees everything before and after the token it predicts.

    Attributes:
        vocab_size: Number of token ids, V.
        hidden_size: Width of the residual streams, D.
        num_layers: Number of blocks.
        context_length: Longest sequence the token-mixing weights cover, in tokens.
        intermediate_size: Inner width of the channel mixing.
        tie_word_embeddings: Whether the output head is the embedding matrix.
        norm_eps: Added to the variance in every LayerNorm.
        padding_side: Where short training texts were padded; `None` if unknown.
        pad_token_id: Id used for that padding.
        bos_token_id: Id put before a text, if the model was trained with one.
        eos_token_id: Id that ends a text.
        quantization: How the large matrices are stored in fewer bits; `None` if they are not.
        provenance: Where the weights came from.
    """

    model_type: ClassVar[str] = "bidirectional_mixer"

    vocab_size: int
    hidden_size: int
    num_layers: int
    context_length: int
    intermediate_size: int
    tie_word_embeddings: bool = False
    norm_eps: float = 1e-5
    padding_side: PaddingSide | None = None
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    quantization: Quantization | None = None
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        check_sizes(self, "vocab_size", "hidden_size", "context_length", "intermediate_size")
        check_whole("num_layers", self.num_layers, 1, MAX_LAYERS)
        check_token_ids(self, self.vocab_size, "pad_token_id", "bos_token_id", "eos_token_id")
        check_flag("tie_word_embeddings", self.tie_word_embeddings)
        check_real("norm_eps", self.norm_eps)
        if self.padding_side is not None:
            check_choice("padding_side", self.padding_side, get_args(PaddingSide))
        check_total(self)

    @property
    def num_parameters(self) -> int:
        """Number of trainable values; the masked half of a square mixing matrix is counted as stored."""
        length, dims, inner = self.context_length, self.hidden_size, self.intermediate_size
        block = 2 * (length * length + length) + 2 * dims * inner + dims + inner + 6 * dims
        return self.vocab_size * dims * (1 if self.tie_word_embeddings else 2) + self.num_layers * block

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a config from what `to_dict` wrote; see `mlx_mixer.config_fields.read_config` for what is raised."""
        return read_config(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, `model_type` first, fields that are unset left out."""
        return write_config(self)
