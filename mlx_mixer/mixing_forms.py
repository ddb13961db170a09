"""What each kind of token mixing consists of, as data: which fields of a config it reads and how large it is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mlx_mixer.config_fields import MAX_SIZE, check_real, check_whole
from mlx_mixer.errors import ConfigError

if TYPE_CHECKING:
    from mlx_mixer.config import LanguageMixerConfig

TokenMixingKind = Literal[
    "flat",
    "expanded",
    "headed",
    "projected",
    "row",
    "col",
    "combined",
    "kernel_col",
    "toeplitz",
    "diag_row",
    "diag_col",
    "col_heads",
    "mixed_heads",
    "combined_heads",
    "parallel_heads",
    "diag_heads",
]
Side = Literal["row", "col"]


@dataclass(frozen=True, kw_only=True)
class MixingForm:
    """Facts about one kind of token mixing.

    Attributes:
        has_kernel: Whether it reads `kernel_size`.
        has_heads: Whether it reads `num_heads`.
        has_decay: Whether it may forget.
        projections: Whether its heads are projected: by the config where "optional".
        sides: For structured kinds, on which side the weights of each part stand: "row" weights are applied as a
            position enters the state, "col" weights as it leaves. One entry for every head, or one for its first and
            one for its second half.
        has_diagonal: Whether each position's weight for itself is stored apart.
        shares_decay: Whether all heads forget by one factor.
    """

    has_kernel: bool = False
    has_heads: bool = False
    has_decay: bool = False
    projections: Literal["never", "always", "optional"] = "never"
    sides: tuple[tuple[Side, ...], ...] = ()
    has_diagonal: bool = False
    shares_decay: bool = False

    @property
    def needs_even_heads(self) -> bool:
        return len(self.sides) == 2


_HALVES: tuple[tuple[Side, ...], ...] = (("col",), ("row",))

MIXING_FORMS: dict[TokenMixingKind, MixingForm] = {
    "flat": MixingForm(has_kernel=True),
    "expanded": MixingForm(),
    "headed": MixingForm(has_kernel=True, has_heads=True, projections="always"),
    "projected": MixingForm(),
    "toeplitz": MixingForm(),
    "row": MixingForm(has_decay=True, sides=(("row",),)),
    "col": MixingForm(has_decay=True, sides=(("col",),)),
    "combined": MixingForm(has_decay=True, sides=(("row", "col"),)),
    "kernel_col": MixingForm(has_decay=True, has_kernel=True, sides=(("col",),)),
    "diag_row": MixingForm(has_decay=True, sides=(("row",),), has_diagonal=True),
    "diag_col": MixingForm(has_decay=True, sides=(("col",),), has_diagonal=True),
    "col_heads": MixingForm(has_heads=True, projections="always", sides=(("col",),)),
    "mixed_heads": MixingForm(has_heads=True, has_decay=True, projections="optional", sides=_HALVES),
    "combined_heads": MixingForm(has_heads=True, has_decay=True, projections="always", sides=(("row", "col"),)),
    "parallel_heads": MixingForm(
        has_heads=True, has_decay=True, projections="optional", sides=_HALVES, shares_decay=True
    ),
    "diag_heads": MixingForm(has_heads=True, has_decay=True, projections="always", sides=_HALVES, has_diagonal=True),
}


def check_token_mixing(config: "LanguageMixerConfig") -> None:
    """Check the fields that belong to some kinds of token mixing only.

    Raises:
        ConfigError: If one is wrong, or set for a kind that does not read it.
    """
    kind, form = config.token_mixing, MIXING_FORMS[config.token_mixing]
    if config.kernel_size > 1 and not form.has_kernel:
        raise ConfigError(f"kernel_size is {config.kernel_size}, but {kind!r} token mixing has no kernel; use 1")
    if config.num_heads > 1 and not form.has_heads:
        raise ConfigError(f"num_heads is {config.num_heads}, but {kind!r} token mixing has no heads; use 1")
    if config.hidden_size % config.num_heads:
        raise ConfigError(f"hidden_size {config.hidden_size} does not divide into {config.num_heads} heads")
    if form.needs_even_heads and config.num_heads % 2:
        raise ConfigError(f"num_heads is {config.num_heads}; {kind!r} token mixing needs an even number of heads")
    check_real("token_expansion", config.token_expansion)
    if kind != "expanded" and (config.token_expansion != 1.0 or not config.token_bias):
        raise ConfigError(f"token_expansion and token_bias=False belong to 'expanded' token mixing, not to {kind!r}")
    check_whole("token_expansion * context_length", config.inner_length, 1, MAX_SIZE)
    _check_structure(config, form)


def _check_structure(config: "LanguageMixerConfig", form: MixingForm) -> None:
    kind = config.token_mixing
    if config.decay and not form.has_decay:
        raise ConfigError(f"decay is on, but {kind!r} token mixing has none; leave it out")
    check_real("decay_constant", config.decay_constant)
    clip = config.decay_clip
    if not isinstance(clip, tuple) or len(clip) != 2:
        raise ConfigError(f"decay_clip is {clip!r}; it must be two numbers, the least and the greatest factor")
    for bound in clip:
        check_real("decay_clip", bound)
    if not clip[0] <= clip[1] <= 1:
        raise ConfigError(f"decay_clip is {clip!r}; its numbers must rise and not exceed 1")
    if not config.use_projections and form.projections != "optional":
        raise ConfigError(f"use_projections=False belongs to mixed_heads and parallel_heads, not to {kind!r}")


def count_token_mixing(config: "LanguageMixerConfig") -> int:
    """Number of values of one layer's token mixing; the masked half of a square matrix is counted as stored."""
    length, dims, heads = config.context_length, config.hidden_size, config.num_heads
    form = MIXING_FORMS[config.token_mixing]
    projection = dims * dims + dims
    projections = 2 * projection if form.projections != "never" and config.use_projections else 0
    match config.token_mixing:
        case "flat" | "headed":
            return heads * (length * length * config.kernel_size + length) + projections
        case "expanded":
            return 2 * length * config.inner_length + (length + config.inner_length) * config.token_bias
        case "projected":
            return length * length + length + projection
        case "toeplitz":
            return 2 * length
    parts = len(form.sides[0])
    vectors = parts * config.kernel_size + 1 + form.has_diagonal
    decays = (1 if form.shares_decay else heads * parts) if config.decay else 0
    return heads * vectors * length + decays + projections
