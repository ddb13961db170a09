"""The key tables of the language mixers with masked weights.

R is the number of inner rows of an expanded convolution; the other symbols stand in `convert.families.block_tables`.
"""

from convert.families.block_tables import EMBEDDING, channel_mixing, convolution, feed_forward, heads, token_norm
from convert.families.family import Family
from convert.families.key_table import Rule
from convert.families.language_config import language_config
from convert.families.transforms import last, last_taps_first, matrix, summed_blocks

BLOCK = "mixerblocks.{i}"
LAYER = "layers.{i}"
MIXING = f"{LAYER}.token_mixing"


def _table(*token_mixing: Rule) -> tuple[Rule, ...]:
    return (*EMBEDDING, *token_mixing, *token_norm(BLOCK, LAYER), *channel_mixing(BLOCK, LAYER))


FLAT = Family("flat", "flat", _table(*convolution(BLOCK, LAYER)), language_config("flat"))
KERNEL = Family("kernel", "flat", FLAT.rules, language_config("flat"))
EXPANDED = Family(
    "expanded",
    "expanded",
    _table(
        Rule(f"{BLOCK}.conv.0.weight", f"{MIXING}.inner_weight", "R L 1", matrix),
        Rule(f"{BLOCK}.conv.0.bias", f"{MIXING}.inner_bias", "R", is_optional=True),
        Rule(f"{BLOCK}.conv.2.weight", f"{MIXING}.outer_weight", "L R 1", matrix),
        Rule(f"{BLOCK}.conv.2.bias", f"{MIXING}.outer_bias", "L", is_optional=True),
    ),
    language_config("expanded"),
)
HEADED = Family("headed", "headed", _table(*heads(BLOCK, LAYER)), language_config("headed"))
# A loop variable outlives its loop upstream: every head applies the last convolution to the unprojected input. So the
# projections and the other convolutions never mattered, and the output blocks can be added up.
HEADED_LEGACY = Family(
    "headed_legacy",
    "headed_legacy",
    _table(
        Rule(f"{BLOCK}.conv.convs.{{j}}.weight", f"{MIXING}.weight", "L L 1", last_taps_first),
        Rule(f"{BLOCK}.conv.convs.{{j}}.bias", f"{MIXING}.bias", "L", last),
        Rule(f"{BLOCK}.conv.out_proj.weight", f"{MIXING}.out_proj.weight", "D HD", summed_blocks),
        Rule(f"{BLOCK}.conv.out_proj.bias", f"{MIXING}.out_proj.bias", "D"),
    ),
    language_config("projected"),
    dropped=(
        *FLAT.dropped,
        f"{BLOCK}.conv.proj_head.{{j}}.weight",
        f"{BLOCK}.conv.proj_head.{{j}}.bias",
    ),
)
# Without norms, and the linear ones without a feed-forward: token mixing and its residual are the whole block.
NEAR_LINEAR = Family(
    "near_linear",
    "flat",
    (*EMBEDDING, *convolution(BLOCK, LAYER), *feed_forward(BLOCK, LAYER)),
    language_config("flat", use_norms=False),
)
LINEAR = Family(
    "linear",
    "flat",
    (*EMBEDDING, *convolution(BLOCK, LAYER)),
    language_config("flat", use_norms=False, final_activation="relu"),
    notes=("a relu is taken to end it, as in all but a toy script of the same keys",),
)
