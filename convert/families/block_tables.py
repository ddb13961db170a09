"""Key tables of the parts that several families share, for blocks under any name.

`stored` is the pattern of a block's name in the file, such as "mixerblocks.{i}", and `target` that of ours. `{i}` is a
block, `{n}` a block of a second stack, `{j}` a head. Sizes: V vocabulary, D width, L context, F inner width of the
channel mixing, k taps, P width of one head's projection.
"""

from convert.families.key_table import Rule
from convert.families.transforms import Transform, concatenated, heads_taps_first, stacked, taps_first

EMBEDDING = (
    Rule("wte.weight", "embed_tokens.weight", "V D"),
    # Absent where it is tied to the embedding.
    Rule("lm_head.weight", "lm_head.weight", "V D", is_optional=True),
)


def token_norm(stored: str, target: str) -> tuple[Rule, ...]:
    """The norm before token mixing."""
    return norm(f"{stored}.seq_layernorm", f"{target}.token_norm")


def channel_mixing(stored: str, target: str) -> tuple[Rule, ...]:
    """The feed-forward and the norm before it."""
    return (*norm(f"{stored}.patch_layernorm", f"{target}.channel_norm"), *feed_forward(stored, target))


def feed_forward(stored: str, target: str) -> tuple[Rule, ...]:
    """The feed-forward alone."""
    return (
        Rule(f"{stored}.patch_ff.0.weight", f"{target}.channel_mixing.up.weight", "F D"),
        Rule(f"{stored}.patch_ff.0.bias", f"{target}.channel_mixing.up.bias", "F"),
        Rule(f"{stored}.patch_ff.2.weight", f"{target}.channel_mixing.down.weight", "D F"),
        Rule(f"{stored}.patch_ff.2.bias", f"{target}.channel_mixing.down.bias", "D"),
    )


def convolution(stored: str, target: str, transform: Transform = taps_first) -> tuple[Rule, ...]:
    """One convolution over positions, or a linear layer over them, which has two axes."""
    return (
        Rule(f"{stored}.conv.weight", f"{target}.token_mixing.weight", "L L k|L L k=1", transform),
        Rule(f"{stored}.conv.bias", f"{target}.token_mixing.bias", "L"),
    )


def heads(stored: str, target: str) -> tuple[Rule, ...]:
    """One convolution per head between projections."""
    conv, mixing = f"{stored}.conv", f"{target}.token_mixing"
    return (
        Rule(f"{conv}.proj_head.{{j}}.weight", f"{mixing}.in_proj.weight", "P D", concatenated),
        Rule(f"{conv}.proj_head.{{j}}.bias", f"{mixing}.in_proj.bias", "P", concatenated),
        Rule(f"{conv}.convs.{{j}}.weight", f"{mixing}.weight", "L L k", heads_taps_first),
        Rule(f"{conv}.convs.{{j}}.bias", f"{mixing}.bias", "L", stacked),
        Rule(f"{conv}.out_proj.weight", f"{mixing}.out_proj.weight", "D D"),
        Rule(f"{conv}.out_proj.bias", f"{mixing}.out_proj.bias", "D"),
    )


def aliases(block: str) -> dict[str, str]:
    """Names that a block's tensors had in other revisions, and those that the tables know.

    A Dropout shifts the feed-forward's second linear, and the heads were once an attribute of their own.
    """
    return {
        f"{block}.patch_ff.3.weight": f"{block}.patch_ff.2.weight",
        f"{block}.patch_ff.3.bias": f"{block}.patch_ff.2.bias",
        **{
            f"{block}.mixerhead.{part}.{kind}": f"{block}.conv.{part}.{kind}"
            for part in ("convs.{j}", "proj_head.{j}", "out_proj")
            for kind in ("weight", "bias")
        },
    }


def norm(stored: str, target: str) -> tuple[Rule, ...]:
    """Weight and bias of one norm."""
    return (Rule(f"{stored}.weight", f"{target}.weight", "D"), Rule(f"{stored}.bias", f"{target}.bias", "D"))
