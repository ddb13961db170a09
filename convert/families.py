"""The key table of every family that can be converted.

`{i}` is a block, `{j}` a head. Sizes: V vocabulary, D width, L context, F inner width of the channel mixing, k taps,
R inner rows of an expanded convolution, P width of one head's projection.
"""

from dataclasses import dataclass

from convert.key_table import Rule
from convert.transforms import (
    concatenated,
    heads_taps_first,
    last,
    last_taps_first,
    matrix,
    stacked,
    summed_blocks,
    taps_first,
)
from mlx_mixer.config import TokenMixingKind

BLOCK = "mixerblocks.{i}"
MIXING = "layers.{i}.token_mixing"


@dataclass(frozen=True)
class Family:
    """A family that can be converted.

    Attributes:
        name: How reports call it.
        mixer: Its value of the `mixer` hint.
        token_mixing: How our model mixes positions for it.
        rules: Key table of the whole network.
        dropped: Stored tensors that its forward pass never uses.
    """

    name: str
    mixer: str
    token_mixing: TokenMixingKind
    rules: tuple[Rule, ...]
    dropped: tuple[str, ...] = ("wte_second.weight", "wte_second.bias")


# The same tensor under the name it had in other revisions: a Dropout shifts the feed-forward's second linear, and the
# heads were once an attribute of their own.
ALIASES = {
    f"{BLOCK}.patch_ff.3.weight": f"{BLOCK}.patch_ff.2.weight",
    f"{BLOCK}.patch_ff.3.bias": f"{BLOCK}.patch_ff.2.bias",
    **{
        f"{BLOCK}.mixerhead.{part}.{kind}": f"{BLOCK}.conv.{part}.{kind}"
        for part in ("convs.{j}", "proj_head.{j}", "out_proj")
        for kind in ("weight", "bias")
    },
}

_EMBEDDING = (
    Rule("wte.weight", "embed_tokens.weight", "V D"),
    # Absent where it is tied to the embedding.
    Rule("lm_head.weight", "lm_head.weight", "V D", is_optional=True),
)
_REST_OF_BLOCK = (
    Rule(f"{BLOCK}.seq_layernorm.weight", "layers.{i}.token_norm.weight", "D"),
    Rule(f"{BLOCK}.seq_layernorm.bias", "layers.{i}.token_norm.bias", "D"),
    Rule(f"{BLOCK}.patch_layernorm.weight", "layers.{i}.channel_norm.weight", "D"),
    Rule(f"{BLOCK}.patch_layernorm.bias", "layers.{i}.channel_norm.bias", "D"),
    Rule(f"{BLOCK}.patch_ff.0.weight", "layers.{i}.channel_mixing.up.weight", "F D"),
    Rule(f"{BLOCK}.patch_ff.0.bias", "layers.{i}.channel_mixing.up.bias", "F"),
    Rule(f"{BLOCK}.patch_ff.2.weight", "layers.{i}.channel_mixing.down.weight", "D F"),
    Rule(f"{BLOCK}.patch_ff.2.bias", "layers.{i}.channel_mixing.down.bias", "D"),
)


def _table(*token_mixing: Rule) -> tuple[Rule, ...]:
    return (*_EMBEDDING, *token_mixing, *_REST_OF_BLOCK)


_CONV = _table(
    # Two axes where the mixer is a linear layer over tokens.
    Rule(f"{BLOCK}.conv.weight", f"{MIXING}.weight", "L L k|L L k=1", taps_first),
    Rule(f"{BLOCK}.conv.bias", f"{MIXING}.bias", "L"),
)
FLAT = Family("flat", "flat", "flat", _CONV)
KERNEL = Family("kernel", "flat", "flat", _CONV)
EXPANDED = Family(
    "expanded",
    "expanded",
    "expanded",
    _table(
        Rule(f"{BLOCK}.conv.0.weight", f"{MIXING}.inner_weight", "R L 1", matrix),
        Rule(f"{BLOCK}.conv.0.bias", f"{MIXING}.inner_bias", "R", is_optional=True),
        Rule(f"{BLOCK}.conv.2.weight", f"{MIXING}.outer_weight", "L R 1", matrix),
        Rule(f"{BLOCK}.conv.2.bias", f"{MIXING}.outer_bias", "L", is_optional=True),
    ),
)
HEADED = Family(
    "headed",
    "headed",
    "headed",
    _table(
        Rule(f"{BLOCK}.conv.proj_head.{{j}}.weight", f"{MIXING}.in_proj.weight", "P D", concatenated),
        Rule(f"{BLOCK}.conv.proj_head.{{j}}.bias", f"{MIXING}.in_proj.bias", "P", concatenated),
        Rule(f"{BLOCK}.conv.convs.{{j}}.weight", f"{MIXING}.weight", "L L k", heads_taps_first),
        Rule(f"{BLOCK}.conv.convs.{{j}}.bias", f"{MIXING}.bias", "L", stacked),
        Rule(f"{BLOCK}.conv.out_proj.weight", f"{MIXING}.out_proj.weight", "D D"),
        Rule(f"{BLOCK}.conv.out_proj.bias", f"{MIXING}.out_proj.bias", "D"),
    ),
)
# A loop variable outlives its loop upstream: every head applies the last convolution to the unprojected input. So the
# projections and the other convolutions never mattered, and the output blocks can be added up.
HEADED_LEGACY = Family(
    "headed_legacy",
    "headed_legacy",
    "projected",
    _table(
        Rule(f"{BLOCK}.conv.convs.{{j}}.weight", f"{MIXING}.weight", "L L 1", last_taps_first),
        Rule(f"{BLOCK}.conv.convs.{{j}}.bias", f"{MIXING}.bias", "L", last),
        Rule(f"{BLOCK}.conv.out_proj.weight", f"{MIXING}.out_proj.weight", "D HD", summed_blocks),
        Rule(f"{BLOCK}.conv.out_proj.bias", f"{MIXING}.out_proj.bias", "D"),
    ),
    dropped=(
        *FLAT.dropped,
        f"{BLOCK}.conv.proj_head.{{j}}.weight",
        f"{BLOCK}.conv.proj_head.{{j}}.bias",
    ),
)
