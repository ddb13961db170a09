"""The key tables of structured recurrent mixers.

K is the number of taps, H that of heads stored as one array; the other symbols stand in
`convert.families.block_tables`. Head j and layer i are holes of the names.
"""

from functools import partial

from convert.families.block_tables import norm
from convert.families.key_table import Rule
from convert.families.transforms import (
    concatenated,
    decays_of_heads,
    decays_of_parts,
    first_row,
    last_decay,
    one_head,
    one_vector_each,
    spread,
    stacked,
)
from mlx_mixer.mixing_forms import TokenMixingKind

BLOCK = "mixer_blocks.{i}"
LAYER = "layers.{i}"
STORED = f"{BLOCK}.token_mixing_layer"
HEAD_J = f"{STORED}.mixer_heads.{{j}}"
MIXING = f"{LAYER}.token_mixing"
EMBEDDING, HEAD = "input_layer.weight", "output_layer.weight"
# A Dropout at index 2 shifted the second linear until the end of 2025.
ALIASES = {
    f"{BLOCK}.channel_mixing_layer.3.{kind}": f"{BLOCK}.channel_mixing_layer.2.{kind}" for kind in ("weight", "bias")
}
UNUSED_PROJECTIONS = tuple(
    f"{STORED}.{projection}.{kind}" for projection in ("in_proj", "out_proj") for kind in ("weight", "bias")
)

_OUTER = (
    Rule(EMBEDDING, "embed_tokens.weight", "V D"),
    Rule(HEAD, "lm_head.weight", "V D", is_optional=True),
    *norm(f"{BLOCK}.channel_norm", f"{LAYER}.channel_norm"),
    Rule(f"{BLOCK}.channel_mixing_layer.0.weight", f"{LAYER}.channel_mixing.up.weight", "F D"),
    Rule(f"{BLOCK}.channel_mixing_layer.0.bias", f"{LAYER}.channel_mixing.up.bias", "F"),
    Rule(f"{BLOCK}.channel_mixing_layer.2.weight", f"{LAYER}.channel_mixing.down.weight", "D F"),
    Rule(f"{BLOCK}.channel_mixing_layer.2.bias", f"{LAYER}.channel_mixing.down.bias", "D"),
    *norm(f"{BLOCK}.token_norm", f"{LAYER}.token_norm"),
)


def structured_rules(kind: TokenMixingKind, length: int, uses_projections: bool) -> tuple[Rule, ...]:
    """The key table of the whole network.

    Args:
        kind: Of token mixing.
        length: L, over which a diagonal of one value is spread.
        uses_projections: Whether heads are projected.
    """
    if kind == "toeplitz":
        return (
            *_OUTER,
            Rule(f"{STORED}.weight", f"{MIXING}.weight", "1 L", first_row),
            Rule(f"{STORED}.bias", f"{MIXING}.bias", "L"),
        )
    if kind == "parallel_heads":
        return (*_OUTER, *_parallel(), *(_projections() if uses_projections else ()))
    if kind.endswith("_heads"):
        return (*_OUTER, *_heads(kind, length), *(_projections_by_head() if uses_projections else ()))
    return (*_OUTER, *_single(kind, length))


def _single(kind: TokenMixingKind, length: int) -> tuple[Rule, ...]:
    """Token mixing without heads."""
    vectors = {"combined": "2 L", "kernel_col": "k L"}.get(kind, "1 L")
    decay_shape, decay = {
        "combined": ("2 1", decays_of_parts),
        # Two values are stored, and only the second is used.
        "kernel_col": ("2 1", last_decay),
        "diag_row": ("1|2 1", last_decay),
        "diag_col": ("1|2 1", last_decay),
    }.get(kind, ("1", last_decay))
    diagonal = Rule(f"{STORED}.diag_weight", f"{MIXING}.diagonal", "1 L|1", partial(spread, length=length))
    return (
        Rule(f"{STORED}.weight", f"{MIXING}.weight", vectors, one_head),
        Rule(f"{STORED}.bias", f"{MIXING}.bias", "L", one_head),
        Rule(f"{STORED}.decay_value", f"{MIXING}.decay", decay_shape, decay, is_optional=True),
        *((diagonal,) if kind.startswith("diag_") else ()),
    )


def _heads(kind: TokenMixingKind, length: int) -> tuple[Rule, ...]:
    """Heads that are modules of their own."""
    vectors, decay_shape = ("2 L", "2 1") if kind == "combined_heads" else ("1 L", "1")
    diagonal = Rule(f"{HEAD_J}.diag_weight", f"{MIXING}.diagonal", "1 L|1", partial(spread, length=length))
    return (
        Rule(f"{HEAD_J}.weight", f"{MIXING}.weight", vectors, stacked),
        Rule(f"{HEAD_J}.bias", f"{MIXING}.bias", "L", stacked),
        Rule(f"{HEAD_J}.decay_value", f"{MIXING}.decay", decay_shape, decays_of_heads, is_optional=True),
        *((diagonal,) if kind == "diag_heads" else ()),
    )


def _projections_by_head() -> tuple[Rule, ...]:
    return (
        Rule(f"{STORED}.proj_head.{{j}}.weight", f"{MIXING}.in_proj.weight", "P D", concatenated),
        Rule(f"{STORED}.proj_head.{{j}}.bias", f"{MIXING}.in_proj.bias", "P", concatenated),
        Rule(f"{STORED}.out_proj.weight", f"{MIXING}.out_proj.weight", "D D"),
        Rule(f"{STORED}.out_proj.bias", f"{MIXING}.out_proj.bias", "D"),
    )


def _parallel() -> tuple[Rule, ...]:
    """Heads that are rows of one array."""
    heads = f"{STORED}.mixer_heads"
    return (
        Rule(f"{heads}.weight", f"{MIXING}.weight", "H L", one_vector_each),
        Rule(f"{heads}.bias", f"{MIXING}.bias", "H L"),
        # Two values are stored; both halves of the heads use the second.
        Rule(f"{heads}.decay_value", f"{MIXING}.decay", "2 1", last_decay, is_optional=True),
    )


def _projections() -> tuple[Rule, ...]:
    return (
        Rule(f"{STORED}.in_proj.weight", f"{MIXING}.in_proj.weight", "D D"),
        Rule(f"{STORED}.in_proj.bias", f"{MIXING}.in_proj.bias", "D"),
        Rule(f"{STORED}.out_proj.weight", f"{MIXING}.out_proj.weight", "D D"),
        Rule(f"{STORED}.out_proj.bias", f"{MIXING}.out_proj.bias", "D"),
    )
