"""The bidirectional ("double") mixer: two convolutions and norms per block, one feed-forward."""

from convert.families.block_tables import EMBEDDING, channel_mixing
from convert.families.family import Facts, Family
from convert.families.key_table import Rule
from convert.families.registry import BLOCK, LAYER
from convert.families.transforms import reverse_matrix, taps_first
from mlx_mixer.model_configs.bidirectional import BidirectionalMixerConfig


def _config(facts: Facts) -> BidirectionalMixerConfig:
    sizes, hints = facts.match.sizes, facts.hints
    return BidirectionalMixerConfig(
        vocab_size=sizes["V"],
        hidden_size=sizes["D"],
        num_layers=sizes["layers"],
        context_length=sizes["L"],
        intermediate_size=sizes["F"],
        tie_word_embeddings=facts.is_tied,
        padding_side=hints.padding_side,
        pad_token_id=hints.pad_token_id,
    )


DOUBLE = Family(
    "double",
    "flat",
    (
        *EMBEDDING,
        Rule(f"{BLOCK}.seq_layernormf.weight", f"{LAYER}.forward_norm.weight", "D"),
        Rule(f"{BLOCK}.seq_layernormf.bias", f"{LAYER}.forward_norm.bias", "D"),
        Rule(f"{BLOCK}.convf.weight", f"{LAYER}.forward_mixing.weight", "L L 1", taps_first),
        Rule(f"{BLOCK}.convf.bias", f"{LAYER}.forward_mixing.bias", "L"),
        Rule(f"{BLOCK}.seq_layernormr.weight", f"{LAYER}.reverse_norm.weight", "D"),
        Rule(f"{BLOCK}.seq_layernormr.bias", f"{LAYER}.reverse_norm.bias", "D"),
        Rule(f"{BLOCK}.convr.weight", f"{LAYER}.reverse_mixing.weight", "L L 1", reverse_matrix),
        Rule(f"{BLOCK}.convr.bias", f"{LAYER}.reverse_mixing.bias", "L"),
        *channel_mixing(BLOCK, LAYER),
    ),
    _config,
    hints=("mixer", "padding_side", "pad_token_id", "tokenizer"),
)
