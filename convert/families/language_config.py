"""The configuration of a language mixer from the sizes that its key table bound."""

from collections.abc import Callable

from convert.families.family import Facts
from convert.families.key_table import Sizes
from mlx_mixer.config import FinalActivation, LanguageMixerConfig
from mlx_mixer.errors import ConversionError
from mlx_mixer.mixing_forms import TokenMixingKind


def language_config(
    token_mixing: TokenMixingKind, *, use_norms: bool = True, final_activation: FinalActivation | None = None
) -> Callable[[Facts], LanguageMixerConfig]:
    """How a configuration is inferred for one kind of masked token mixing."""

    def infer(facts: Facts) -> LanguageMixerConfig:
        sizes, hints = facts.match.sizes, facts.hints
        length, heads = sizes["L"], sizes["heads"]
        check_heads(sizes)
        biases = sum(entry.target.endswith(("inner_bias", "outer_bias")) for entry in facts.match.assignments)
        if biases not in (0, 2 * sizes["layers"]):
            raise ConversionError("only one of the two convolutions of a block has a bias")
        return LanguageMixerConfig(
            vocab_size=sizes["V"],
            hidden_size=sizes["D"],
            num_layers=sizes["layers"],
            context_length=length,
            intermediate_size=sizes.get("F", 0),  # a table without a feed-forward binds none
            token_mixing=token_mixing,
            kernel_size=sizes.get("k", 1),
            num_heads=heads if token_mixing == "headed" else 1,
            token_expansion=sizes.get("R", length) / length,
            token_bias=token_mixing != "expanded" or biases > 0,
            use_norms=use_norms,
            final_activation=final_activation,
            tie_word_embeddings=facts.is_tied,
            padding_side=hints.padding_side,
            pad_token_id=hints.pad_token_id,
            embedding_position=hints.embedding_position,
            temperature=hints.temperature,
        )

    return infer


def check_heads(sizes: Sizes) -> None:
    """Check that the heads fill the model's width, in either generation of heads.

    Raises:
        ConversionError: If they do not.
    """
    dims, heads = sizes["D"], sizes["heads"]
    if "P" in sizes and sizes["P"] * heads != dims:
        raise ConversionError(f"{heads} heads of width {sizes['P']} do not make the model width {dims}")
    if "HD" in sizes and sizes["HD"] != heads * dims:
        raise ConversionError(f"the output projection takes {sizes['HD']} features; {heads} heads make {heads * dims}")
