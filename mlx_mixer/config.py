"""What a model is, as one validated, frozen value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

from mlx_mixer.config_fields import (
    MAX_LAYERS,
    MAX_SIZE,
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
from mlx_mixer.errors import ConfigError
from mlx_mixer.mixing_forms import TokenMixingKind as TokenMixingKind
from mlx_mixer.mixing_forms import check_token_mixing, count_token_mixing

PoolingKind = Literal["position", "mean", "token_weighted", "static", "contextual"]
BlockOrder = Literal["token_then_channel", "channel_then_token"]
Activation = Literal["gelu", "silu"]
FinalActivation = Literal["relu"]

# Which kinds of pooling have a field; `None` for every other kind.
_POOLING_FIELDS: dict[str, tuple[PoolingKind, ...]] = {
    "embedding_size": ("static", "contextual"),
    "embedding_layers": ("contextual",),
    "embedding_intermediate_size": ("contextual",),
    "embedding_heads": ("contextual",),
    "word_embedding_size": ("static",),
    "word_vocab_size": ("static", "contextual"),
}


@dataclass(frozen=True, kw_only=True)
class LanguageMixerConfig:
    """A causal masked mixer that writes and embeds.

    Attributes:
        vocab_size: Number of token ids, V.
        hidden_size: Width of the residual stream, D.
        num_layers: Number of blocks.
        context_length: Longest sequence the token-mixing weights cover, in tokens.
        intermediate_size: Inner width of the channel mixing; 0 for blocks without one.
        token_mixing: How positions are mixed; see `mlx_mixer.mixing_forms`.
        kernel_size: Taps over the feature axis ("flat", "headed" and "kernel_col").
        num_heads: Heads of the kinds that have heads; divides `hidden_size`.
        token_expansion: Inner rows of "expanded" token mixing divided by `context_length`.
        token_bias: Whether "expanded" token mixing has biases; the other kinds always do.
        decay: Whether structured token mixing forgets: earlier positions count less, by a learned factor per position.
        decay_constant: c in that factor, ``clip(decay) ** (1 / c)``.
        decay_clip: Least and greatest value of the factor before the root.
        use_projections: Whether heads read a projection of the features and are projected back; `False` only for
            "mixed_heads" and "parallel_heads", whose heads then read slices of the features.
        block_order: Which mixing of a block comes first.
        activation: Between the two maps of the channel mixing.
        use_norms: Whether the mixings read normalised input.
        final_activation: Applied after the last block; `None` for nothing.
        tie_word_embeddings: Whether the output head is the embedding matrix.
        norm_eps: Added to the variance in every LayerNorm.
        padding_side: Where short training texts were padded; `None` if unknown.
        pad_token_id: Id used for that padding.
        bos_token_id: Id put before a text, if the model was trained with one.
        eos_token_id: Id that ends a text.
        pooling: How a text becomes one embedding; see `mlx_mixer.text_pooling`.
        embedding_size: For "static" and "contextual" pooling: length of the vectors that an embedding is a sum of;
            `None` for the other kinds, whose embeddings have `hidden_size` values.
        embedding_layers: For "contextual" pooling: number of blocks that the vectors go through; see
            `embedding_blocks`.
        embedding_intermediate_size: For "contextual" pooling: inner width of their channel mixing.
        embedding_heads: For "contextual" pooling: heads of their token mixing; divides `embedding_size`.
        word_embedding_size: For "static" pooling: length of the vectors of words, if an embedding holds a sum of those
            beside the one of tokens; see `mlx_mixer.embedding`.
        word_vocab_size: How many vectors of words there are; see `mlx_mixer.word_tokenizer`. With "contextual" pooling
            they stand in the place of those of tokens.
        embedding_position: For "position" pooling: index of the state taken, negative from the end of the window
            (left padding) or of the real tokens (right padding).
        fold_case: Whether texts are lower-cased and their white space collapsed before they are embedded (not before
            they are continued).
        temperature: InfoNCE temperature of training, for information.
        quantization: How the large matrices are stored in fewer bits; `None` if they are not.
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
    decay: bool = False
    decay_constant: float = 1.0
    decay_clip: tuple[float, float] = (0.9, 1.0)
    use_projections: bool = True
    block_order: BlockOrder = "token_then_channel"
    activation: Activation = "gelu"
    use_norms: bool = True
    final_activation: FinalActivation | None = None
    tie_word_embeddings: bool = False
    norm_eps: float = 1e-5
    padding_side: PaddingSide | None = None
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pooling: PoolingKind = "position"
    embedding_size: int | None = None
    embedding_layers: int | None = None
    embedding_intermediate_size: int | None = None
    embedding_heads: int | None = None
    word_embedding_size: int | None = None
    word_vocab_size: int | None = None
    embedding_position: int | None = None
    fold_case: bool = False
    temperature: float | None = None
    quantization: Quantization | None = None
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        if isinstance(self.decay_clip, list):
            # JSON has no tuples, and a frozen value no other way to take one.
            object.__setattr__(self, "decay_clip", tuple(self.decay_clip))
        check_sizes(self, "vocab_size", "hidden_size", "context_length", "kernel_size", "num_heads")
        check_whole("intermediate_size", self.intermediate_size, 0, MAX_SIZE)
        for name in ("token_bias", "decay", "use_projections", "use_norms", "tie_word_embeddings", "fold_case"):
            check_flag(name, getattr(self, name))
        check_whole("num_layers", self.num_layers, 1, MAX_LAYERS)
        check_token_ids(self, self.vocab_size, "pad_token_id", "bos_token_id", "eos_token_id")
        self._check_choices()
        check_token_mixing(self)
        check_real("norm_eps", self.norm_eps)
        if self.temperature is not None:
            check_real("temperature", self.temperature)
        position = self.embedding_position
        if position is not None:
            check_whole("embedding_position", position, -self.context_length, self.context_length - 1)
        self._check_pooling()
        check_total(self)

    def _check_pooling(self) -> None:
        for name, kinds in _POOLING_FIELDS.items():
            if getattr(self, name) is not None and self.pooling not in kinds:
                raise ConfigError(
                    f"{name} is {getattr(self, name)!r}, but only {' and '.join(map(repr, kinds))} pooling has it; "
                    f"pooling is {self.pooling!r}"
                )
        if self.pooling in ("static", "contextual"):
            check_whole("embedding_size", self.embedding_size, 1, MAX_SIZE)
        if self.pooling == "static" and (self.word_embedding_size, self.word_vocab_size) != (None, None):
            check_whole("word_embedding_size", self.word_embedding_size, 1, MAX_SIZE)
            check_whole("word_vocab_size", self.word_vocab_size, 1, MAX_SIZE)
        if self.pooling == "contextual":
            self._check_embedding_blocks()

    def _check_embedding_blocks(self) -> None:
        check_whole("embedding_layers", self.embedding_layers, 1, MAX_LAYERS)
        check_whole("embedding_intermediate_size", self.embedding_intermediate_size, 1, MAX_SIZE)
        check_whole("embedding_heads", self.embedding_heads, 1, MAX_SIZE)
        if self.word_vocab_size is not None:
            check_whole("word_vocab_size", self.word_vocab_size, 1, MAX_SIZE)
        size, heads = self.embedding_size, self.embedding_heads
        if size is not None and heads is not None and size % heads:
            raise ConfigError(
                f"embedding_size {size} does not divide into {heads} heads; embedding_heads must divide it"
            )

    def _check_choices(self) -> None:
        check_choice("token_mixing", self.token_mixing, get_args(TokenMixingKind))
        check_choice("pooling", self.pooling, get_args(PoolingKind))
        check_choice("block_order", self.block_order, get_args(BlockOrder))
        check_choice("activation", self.activation, get_args(Activation))
        if self.padding_side is not None:
            check_choice("padding_side", self.padding_side, get_args(PaddingSide))
        if self.final_activation is not None:
            check_choice("final_activation", self.final_activation, get_args(FinalActivation))

    @property
    def inner_length(self) -> int:
        """Inner rows of "expanded" token mixing."""
        return round(self.token_expansion * self.context_length)

    @property
    def embedding_dims(self) -> int:
        """Length of the vector of a text."""
        return sum(self.embedding_parts)

    @property
    def embedding_parts(self) -> tuple[int, ...]:
        """Lengths of the parts of that vector: the one of tokens, and the one of words if there is one."""
        of_tokens = self.hidden_size if self.embedding_size is None else self.embedding_size
        return (of_tokens,) if self.word_embedding_size is None else (of_tokens, self.word_embedding_size)

    @property
    def embedding_vocab_size(self) -> int:
        """Number of ids that "contextual" pooling has vectors of: words if `word_vocab_size` is set, else tokens."""
        return self.vocab_size if self.word_vocab_size is None else self.word_vocab_size

    @property
    def embedding_blocks(self) -> "LanguageMixerConfig | None":
        """The blocks that the vectors of "contextual" pooling go through, as a config; `None` for other kinds."""
        size, layers, inner, heads = (
            self.embedding_size,
            self.embedding_layers,
            self.embedding_intermediate_size,
            self.embedding_heads,
        )
        if size is None or layers is None or inner is None or heads is None:
            return None
        return LanguageMixerConfig(
            vocab_size=self.embedding_vocab_size,
            hidden_size=size,
            num_layers=layers,
            context_length=self.context_length,
            intermediate_size=inner,
            token_mixing="headed",
            num_heads=heads,
        )

    @property
    def num_parameters(self) -> int:
        """Number of trainable values; the masked half of a square mixing matrix is counted as stored."""
        tables = self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)
        return tables + self._num_block_parameters + self._num_pooling_parameters

    @property
    def _num_block_parameters(self) -> int:
        dims, inner = self.hidden_size, self.intermediate_size
        channel = 2 * dims * inner + dims + inner if inner else 0
        norms = 2 * dims * (2 if inner else 1) if self.use_norms else 0
        return self.num_layers * (count_token_mixing(self) + channel + norms)

    @property
    def _num_pooling_parameters(self) -> int:
        if self.embedding_size is None:
            return (self.vocab_size + self.num_layers + 1) * (self.pooling == "token_weighted")
        if (blocks := self.embedding_blocks) is not None:
            return self.embedding_vocab_size * (self.embedding_size + 1) + blocks._num_block_parameters
        of_words = 0
        if self.word_embedding_size is not None and self.word_vocab_size is not None:
            of_words = self.word_vocab_size * (self.word_embedding_size + 1)
        return self.vocab_size * (self.embedding_size + 1) + of_words

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
