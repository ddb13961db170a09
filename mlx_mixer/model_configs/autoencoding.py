"""The config of an autoencoding mixer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.config_fields import (
    MAX_LAYERS,
    PaddingSide,
    Provenance,
    Quantization,
    check_choice,
    check_sizes,
    check_total,
    check_whole,
    read_config,
    write_config,
)
from mlx_mixer.errors import ConfigError

DecoderInput = Literal["repeat", "unroll"]


@dataclass(frozen=True, kw_only=True)
class AutoencodingMixerConfig:
    """Two causal stacks of blocks: one makes a vector of a text, the other the text of that vector.

    Attributes:
        vocab_size: Number of token ids, V.
        hidden_size: Width of the residual stream, D.
        num_layers: Number of blocks of the encoder.
        num_decoder_layers: Number of blocks of the decoder; 0 if the model is an encoder alone, which embeds.
        context_length: Longest sequence the token-mixing weights cover, in tokens.
        intermediate_size: Inner width of the channel mixing.
        token_mixing: How positions are mixed; see `mlx_mixer.layers.token_mixing`.
        kernel_size: Taps over the feature axis.
        num_heads: Heads of "headed" token mixing; divides `hidden_size`.
        compressed_size: Width of the bottleneck between encoder and decoder; `None` without one.
        decoder_input: How the vector fills the decoder's positions; see `mlx_mixer.models.autoencoding`.
        tie_word_embeddings: Whether the output head is the embedding matrix.
        norm_eps: Added to the variance in every LayerNorm.
        padding_side: Where short texts were padded; the vector is the state of the window's last position, so on the
            left unless the user knows better.
        pad_token_id: Id used for that padding.
        bos_token_id: Id put before a text, if the model was trained with one.
        eos_token_id: Id that ends a text.
        embedding_position: Which encoder state is the vector, from the end of the window.
        fold_case: Whether texts are lower-cased and their white space collapsed before they are embedded.
        temperature: InfoNCE temperature of training, for information.
        quantization: How the large matrices are stored in fewer bits; `None` if they are not.
        provenance: Where the weights came from.
    """

    model_type: ClassVar[str] = "autoencoding_mixer"

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_decoder_layers: int
    context_length: int
    intermediate_size: int
    token_mixing: Literal["flat", "headed"] = "flat"
    kernel_size: int = 1
    num_heads: int = 1
    compressed_size: int | None = None
    decoder_input: DecoderInput = "repeat"
    tie_word_embeddings: bool = False
    norm_eps: float = 1e-5
    padding_side: PaddingSide = "left"
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    embedding_position: int = -1
    fold_case: bool = False
    temperature: float | None = None
    quantization: Quantization | None = None
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        check_choice("token_mixing", self.token_mixing, ("flat", "headed"))
        check_choice("decoder_input", self.decoder_input, get_args(DecoderInput))
        check_choice("padding_side", self.padding_side, get_args(PaddingSide))
        check_whole("num_layers", self.num_layers, 1, MAX_LAYERS)
        check_whole("num_decoder_layers", self.num_decoder_layers, 0, MAX_LAYERS)
        check_sizes(self, "context_length")
        check_whole("embedding_position", self.embedding_position, -self.context_length, -1)
        if self.compressed_size is not None:
            check_sizes(self, "compressed_size")
        # The rest is what a language mixer of these sizes checks.
        self.stack_config()
        if self.decoder_input == "unroll" and self.hidden_size < 2:
            raise ConfigError(
                "hidden_size is 1; a decoder input that is unrolled takes half of the features, so at least 2"
            )
        if self.num_decoder_layers == 0 and (self.compressed_size is not None or self.decoder_input != "repeat"):
            raise ConfigError("num_decoder_layers is 0, but compressed_size and decoder_input belong to a decoder")
        check_total(self)

    def stack_config(self) -> LanguageMixerConfig:
        """The language mixer whose blocks those of both stacks are."""
        return LanguageMixerConfig(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            context_length=self.context_length,
            intermediate_size=self.intermediate_size,
            token_mixing=self.token_mixing,
            kernel_size=self.kernel_size,
            num_heads=self.num_heads,
            tie_word_embeddings=self.tie_word_embeddings,
            norm_eps=self.norm_eps,
            pad_token_id=self.pad_token_id,
            bos_token_id=self.bos_token_id,
            eos_token_id=self.eos_token_id,
            fold_case=self.fold_case,
            temperature=self.temperature,
        )

    @property
    def num_parameters(self) -> int:
        """Number of trainable values; the masked half of a square mixing matrix is counted as stored."""
        tables = self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)
        blocks = self.stack_config().num_parameters - tables
        if self.num_decoder_layers == 0:
            return self.vocab_size * self.hidden_size + blocks
        decoder = blocks // self.num_layers * self.num_decoder_layers
        squeezed = self.compressed_size or 0
        bottleneck = 2 * squeezed * self.hidden_size + (squeezed + self.hidden_size) * (squeezed > 0)
        unrolled = (self.hidden_size // 2 + 1) * self.hidden_size * (self.decoder_input == "unroll")
        return tables + blocks + decoder + bottleneck + unrolled

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a config from what `to_dict` wrote; see `mlx_mixer.config_fields.read_config` for what is raised."""
        return read_config(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, `model_type` first, fields that are unset left out."""
        return write_config(self)
