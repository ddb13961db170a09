"""Structured recurrent mixers: which one a file holds, as far as its keys and the user tell."""

import re
from collections.abc import Mapping

from convert.families.family import TOKEN_HINTS, Evidence, Family, Unsupported, Verdict
from convert.families.structured_config import decay_constant, structured_config
from convert.families.structured_tables import EMBEDDING, HEAD, UNUSED_PROJECTIONS, structured_rules
from convert.hints import how_to_tell
from convert.sources.weight_file import TensorInfo
from mlx_mixer.errors import ConversionError, UsageError
from mlx_mixer.mixing_forms import TokenMixingKind

Block = Mapping[str, TensorInfo]


def structured(evidence: Evidence) -> Verdict:
    """Tell the family of a checkpoint with the outer keys of a structured mixer.

    Raises:
        UsageError: If its keys fit several kinds and no hint names one.
        ConversionError: If the hint names a kind that they do not fit.
    """
    block = token_mixing_block(evidence.tensors)
    if any(re.fullmatch(r"[023]\.weight", name) for name in block):
        return Unsupported(
            "srm_expanded",
            "an expanded structured mixer, a research experiment that cannot be converted",
            "convert a checkpoint of a single token mixing or of heads",
        )
    kinds = possible_kinds(block)
    if not kinds:
        return Unsupported(
            "srm",
            "a structured recurrent mixer of unknown form",
            "convert one of the forms that mrm/repeat_main.py makes",
        )
    return _family(_chosen(kinds, evidence.hints.mixer), block, evidence)


def token_mixing_block(tensors: Mapping[str, TensorInfo]) -> Block:
    """The token mixing of the lowest block there is, by names within it."""
    blocks: dict[int, dict[str, TensorInfo]] = {}
    for name, info in tensors.items():
        if match := re.fullmatch(r"mixer_blocks\.(\d{1,4})\.token_mixing_layer\.(.*)", name):
            blocks.setdefault(int(match[1]), {})[match[2]] = info
    return blocks[min(blocks)] if blocks else {}


def possible_kinds(block: Block) -> tuple[TokenMixingKind, ...]:
    """The kinds that write such keys, the likeliest first."""
    if "mixer_heads.weight" in block:
        return ("parallel_heads",)
    if "mixer_heads.0.weight" in block:
        return _kinds_with_heads(block)
    if "weight" not in block:
        return ()
    if "diag_weight" in block:
        return ("diag_row", "diag_col")
    vectors = block["weight"].shape[0] if block["weight"].shape else 0
    if vectors > 1:
        return ("combined", "kernel_col") if vectors == 2 else ("kernel_col",)
    return ("row", "col") if "decay_value" in block else ("row", "col", "toeplitz")


def _kinds_with_heads(block: Block) -> tuple[TokenMixingKind, ...]:
    if "mixer_heads.0.diag_weight" in block:
        return ("diag_heads",)
    if block["mixer_heads.0.weight"].shape[:1] == (2,):
        return ("combined_heads",)
    # Heads that are col throughout never decay and always have projections.
    if "mixer_heads.0.decay_value" in block or "proj_head.0.weight" not in block:
        return ("mixed_heads",)
    return ("mixed_heads", "col_heads")


def mixing_length(block: Block) -> int:
    """Number of positions that a token mixing has weights for."""
    bias = block.get("bias") or block.get("mixer_heads.0.bias") or block.get("mixer_heads.bias")
    return bias.shape[-1] if bias is not None and bias.shape else 1


def _chosen(kinds: tuple[TokenMixingKind, ...], hint: str | None) -> TokenMixingKind:
    if hint is not None and "softmax" in hint:
        return kinds[0]  # refused where the hint is understood
    for kind in kinds:
        if kind == hint or (hint is None and len(kinds) == 1):
            return kind
    allowed = f"{', '.join(kinds[:-1])} or {kinds[-1]}" if len(kinds) > 1 else kinds[0]
    if hint is not None:
        raise ConversionError(f"the hint says mixer={hint}, but the keys of the checkpoint are of {allowed}")
    raise UsageError(f"the keys of the checkpoint do not tell its token mixing; {how_to_tell('mixer')}: {allowed}")


def _family(kind: TokenMixingKind, block: Block, evidence: Evidence) -> Family:
    hints = evidence.hints
    has_decay = any(name.endswith("decay_value") for name in block)
    length = mixing_length(block)
    has_projections = "in_proj.weight" in block or "proj_head.0.weight" in block
    is_parallel = kind == "parallel_heads" and has_projections
    uses_projections = has_projections and not (is_parallel and hints.use_projections is False)
    notes = []
    if has_decay and hints.decay_constant is None:
        constant = decay_constant(kind, length, None)
        notes.append(f"the decay constant is taken to be {constant:g}; if not, {how_to_tell('decay_constant')}")
    if is_parallel and hints.use_projections is None:
        notes.append(
            "its projections are taken to be used; if not, give the hint use_projections=False (--no-use-projections)"
        )
    return Family(
        name="srm",
        mixer=kind,
        rules=structured_rules(kind, length, uses_projections),
        make_config=structured_config(kind, uses_projections),
        dropped=UNUSED_PROJECTIONS if is_parallel and not uses_projections else (),
        hints=(*TOKEN_HINTS, *(["decay_constant"] * has_decay), *(["use_projections"] * is_parallel)),
        notes=tuple(notes),
        embedding=EMBEDDING,
        head=HEAD,
    )
