"""The config of a retrieval mixer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

from mlx_mixer.config_fields import (
    MAX_LAYERS,
    MAX_SIZE,
    Provenance,
    Quantization,
    check_choice,
    check_flag,
    check_real,
    check_sizes,
    check_total,
    check_whole,
    read_config,
    write_config,
)
from mlx_mixer.errors import ConfigError

Rows = Literal["embeddings", "interactions"]

# Among the hints of a provenance: whose vectors a re-ranker was trained for.
EMBEDDER_FINGERPRINT, EMBEDDER_NAME = "embedder_fingerprint", "embedder"


@dataclass(frozen=True, kw_only=True)
class RetrievalMixerConfig:
    """A re-ranker: it sees the embedding of a query beside those of candidates, and scores the candidates.

    Attributes:
        hidden_size: Width of the embeddings, D.
        num_layers: Number of blocks.
        context_length: Rows it sees at once, m: one query and m - 1 candidates.
        intermediate_size: Inner width of the channel mixing.
        norm_eps: Added to the variance in every LayerNorm.
        rows: What the blocks see: the "embeddings" themselves, as in the paper; or the "interactions" of each candidate
            with the query, in which case the scores start from the cosines.
        mixing_size: Width of the blocks over interactions.
        takes_scores: Whether each candidate comes with the score that a search gave it, from which its own starts in
            place of the cosine.
        quantization: How the large matrices are stored in fewer bits; `None` if they are not.
        provenance: Where the weights came from.
    """

    model_type: ClassVar[str] = "retrieval_mixer"

    hidden_size: int
    num_layers: int
    context_length: int
    intermediate_size: int
    norm_eps: float = 1e-5
    rows: Rows = "embeddings"
    mixing_size: int | None = None
    takes_scores: bool = False
    quantization: Quantization | None = None
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        check_sizes(self, "hidden_size", "intermediate_size")
        check_whole("context_length", self.context_length, 2, MAX_SIZE)
        check_whole("num_layers", self.num_layers, 1, MAX_LAYERS)
        check_real("norm_eps", self.norm_eps)
        check_choice("rows", self.rows, get_args(Rows))
        check_flag("takes_scores", self.takes_scores)
        if (self.rows == "interactions") != (self.mixing_size is not None):
            raise ConfigError("mixing_size is given with rows 'interactions', and with no others")
        if self.mixing_size is not None:
            check_sizes(self, "mixing_size")
        elif self.takes_scores:
            raise ConfigError("takes_scores is true; only rows of 'interactions' start from a score")
        check_total(self)

    @property
    def block_size(self) -> int:
        """Width of the blocks."""
        return self.hidden_size if self.mixing_size is None else self.mixing_size

    @property
    def num_parameters(self) -> int:
        """Number of trainable values."""
        length, dims, inner = self.context_length, self.block_size, self.intermediate_size
        block = length * length + length + 2 * dims * inner + dims + inner + 4 * dims
        # The map of interactions, the temperature, and what counts beside a search's score.
        entrance = 0 if self.mixing_size is None else (self.hidden_size + 2 + self.takes_scores) * dims + 1
        return self.num_layers * block + entrance + self.takes_scores + dims + 1

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a config from what `to_dict` wrote; see `mlx_mixer.config_fields.read_config` for what is raised."""
        return read_config(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, `model_type` first, fields that are unset left out."""
        return write_config(self)
