"""The re-ranker over embeddings: the blocks of a flat mixer without a mask, and a head of one unit."""

from convert.families.block_tables import channel_mixing, convolution, token_norm
from convert.families.family import Facts, Family
from convert.families.key_table import Rule
from convert.families.registry import BLOCK, LAYER
from convert.families.transforms import unmasked_matrix
from mlx_mixer.errors import ConversionError
from mlx_mixer.model_configs.retrieval import RetrievalMixerConfig


def _config(facts: Facts) -> RetrievalMixerConfig:
    sizes = facts.match.sizes
    if sizes["k"] != 1:
        raise ConversionError(f"the convolutions of this re-ranker have {sizes['k']} taps; only 1 is known")
    return RetrievalMixerConfig(
        hidden_size=sizes["D"],
        num_layers=sizes["layers"],
        context_length=sizes["L"],
        intermediate_size=sizes["F"],
    )


RETRIEVAL = Family(
    "retrieval_mixer",
    "flat",
    (
        *convolution(BLOCK, LAYER, unmasked_matrix),
        *token_norm(BLOCK, LAYER),
        *channel_mixing(BLOCK, LAYER),
        Rule("retrieval_head.weight", "score.weight", "1 D"),
        Rule("retrieval_head.bias", "score.bias", "1"),
    ),
    _config,
    dropped=(),
    hints=("mixer",),
)
