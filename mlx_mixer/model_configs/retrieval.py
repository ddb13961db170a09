"""The config of a retrieval mixer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from mlx_mixer.config_fields import (
    MAX_LAYERS,
    MAX_SIZE,
    Provenance,
    Quantization,
    check_real,
    check_sizes,
    check_total,
    check_whole,
    read_config,
    write_config,
)


@dataclass(frozen=True, kw_only=True)
class RetrievalMixerConfig:
    """A re-ranker: it sees the embedding of a query beside those of candidates, and scores the candidates.

    Attributes:
        hidden_size: Width of the embeddings, D.
        num_layers: Number of blocks.
        context_length: Rows it sees at once, m: one query and m - 1 candidates.
        intermediate_size: Inner width of the channel mixing.
        norm_eps: Added to the variance in every LayerNorm.
        quantization: How the large matrices are stored in fewer bits; `None` if they are not.
        provenance: Where the weights came from.
    """

    model_type: ClassVar[str] = "retrieval_mixer"

    hidden_size: int
    num_layers: int
    context_length: int
    intermediate_size: int
    norm_eps: float = 1e-5
    quantization: Quantization | None = None
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        check_sizes(self, "hidden_size", "intermediate_size")
        check_whole("context_length", self.context_length, 2, MAX_SIZE)
        check_whole("num_layers", self.num_layers, 1, MAX_LAYERS)
        check_real("norm_eps", self.norm_eps)
        check_total(self)

    @property
    def num_parameters(self) -> int:
        """Number of trainable values."""
        length, dims, inner = self.context_length, self.hidden_size, self.intermediate_size
        block = length * length + length + 2 * dims * inner + dims + inner + 4 * dims
        return self.num_layers * block + dims + 1

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a config from what `to_dict` wrote; see `mlx_mixer.config_fields.read_config` for what is raised."""
        return read_config(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, `model_type` first, fields that are unset left out."""
        return write_config(self)
