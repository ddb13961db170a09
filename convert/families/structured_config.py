"""The configuration of a structured mixer from the sizes that its key table bound."""

from collections.abc import Callable
from dataclasses import replace

from convert.families.family import Facts
from convert.families.language_config import language_config
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.mixing_forms import MIXING_FORMS, TokenMixingKind


def structured_config(kind: TokenMixingKind, uses_projections: bool) -> Callable[[Facts], LanguageMixerConfig]:
    """How a configuration is inferred for one kind of structured token mixing."""
    form = MIXING_FORMS[kind]

    def infer(facts: Facts) -> LanguageMixerConfig:
        sizes = facts.match.sizes
        has_decay = any(entry.target.endswith(".decay") for entry in facts.match.assignments)
        constant = decay_constant(kind, sizes["L"], facts.hints.decay_constant) if has_decay else 1.0
        return replace(
            language_config("flat")(facts),
            token_mixing=kind,
            num_heads=sizes.get("H", sizes["heads"]) if form.has_heads else 1,
            decay=has_decay,
            decay_constant=constant,
            use_projections=uses_projections or form.projections != "optional",
            block_order="channel_then_token",
            activation="silu",
        )

    return infer


def decay_constant(kind: TokenMixingKind, length: int, hint: float | None) -> float:
    """The hint, or what upstream code used for most of its history; checkpoints do not hold it."""
    if hint is not None:
        return float(hint)
    if MIXING_FORMS[kind].has_diagonal:
        return 1.0
    return float(max(1, length // (256 if kind == "kernel_col" else 512)))
