"""Which upstream network a model of ours is, told by its configuration alone: it may have been trained here."""

from dataclasses import dataclass, field
from typing import Any

from convert.families.autoencoder import autoencoder_rules, encoder_rules
from convert.families.bidirectional import DOUBLE
from convert.families.family import Family
from convert.families.key_table import Rule
from convert.families.registry import EXPANDED, FLAT, HEADED, HEADED_LEGACY, KERNEL, LINEAR, NEAR_LINEAR
from convert.families.retrieval import RETRIEVAL
from convert.families.structured_tables import structured_rules
from convert.sources.containers import WHOLE_MODEL_WRAPPER
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.errors import UnsupportedModelError
from mlx_mixer.mixing_forms import MIXING_FORMS
from mlx_mixer.model_configs.autoencoding import AutoencodingMixerConfig
from mlx_mixer.model_configs.bidirectional import BidirectionalMixerConfig
from mlx_mixer.model_configs.kinds import ModelConfig
from mlx_mixer.model_configs.retrieval import RetrievalMixerConfig

NORM_EPS = 1e-5
DECAY_CLIP = (0.9, 1.0)
# Legacy heads all carry one vector; how many there were does not matter, but one would be another network's keys.
LEGACY_HEADS = 2


@dataclass(frozen=True)
class UpstreamForm:
    """An upstream network.

    Attributes:
        family: How reports call it.
        rules: Its key table.
        heads: How many tensors a rule with a hole for heads stands for.
        prefix: Before every name: of the module that the network is an attribute of.
        hints: What a conversion of its files must be told.
    """

    family: str
    rules: tuple[Rule, ...]
    heads: int = 0
    prefix: str = ""
    hints: dict[str, Any] = field(default_factory=dict)


def upstream_form(config: ModelConfig) -> UpstreamForm:
    """The upstream network that computes what a model does.

    Raises:
        UnsupportedModelError: If there is none.
    """
    if config.norm_eps != NORM_EPS:
        raise _without_counterpart(f"norm_eps {config.norm_eps}")
    match config:
        case RetrievalMixerConfig():
            if config.rows != "embeddings":
                raise _without_counterpart(f"rows of {config.rows}")
            return UpstreamForm(RETRIEVAL.name, RETRIEVAL.rules)
        case BidirectionalMixerConfig():
            return UpstreamForm(DOUBLE.name, DOUBLE.rules, hints=_told(config))
        case AutoencodingMixerConfig():
            return _autoencoder(config)
        case LanguageMixerConfig():
            return _structured(config) if _is_structured(config) else _masked(config)


def _autoencoder(config: AutoencodingMixerConfig) -> UpstreamForm:
    heads = config.num_heads if config.token_mixing == "headed" else 0
    hints = _told(config)
    if config.num_decoder_layers == 0:
        rules = encoder_rules(config.token_mixing)
        return UpstreamForm("infonce_autoencoder", rules, heads, WHOLE_MODEL_WRAPPER, hints)
    is_unrolled = config.decoder_input == "unroll"
    rules = autoencoder_rules(config.token_mixing, is_unrolled=is_unrolled)
    return UpstreamForm("autoencoder", rules, heads, hints=hints | ({"decoder_input": "unroll"} if is_unrolled else {}))


def _masked(config: LanguageMixerConfig) -> UpstreamForm:
    family = _masked_family(config)
    expected = {
        "block_order": "token_then_channel",
        "activation": "gelu",
        "use_norms": family not in (NEAR_LINEAR, LINEAR),
        "final_activation": "relu" if family is LINEAR else None,
    }
    _check(config, expected)
    heads = {HEADED: config.num_heads, HEADED_LEGACY: LEGACY_HEADS}.get(family, 0)
    return UpstreamForm(family.name, family.rules, heads, hints=_told(config))


def _masked_family(config: LanguageMixerConfig) -> Family:
    if config.token_mixing != "flat":
        family = {"expanded": EXPANDED, "headed": HEADED, "projected": HEADED_LEGACY}[config.token_mixing]
    elif config.use_norms:
        family = KERNEL if config.kernel_size > 1 else FLAT
    else:
        family = NEAR_LINEAR if config.intermediate_size else LINEAR
    if config.intermediate_size == 0 and family is not LINEAR:
        raise _without_counterpart("no channel mixing")
    return family


def _structured(config: LanguageMixerConfig) -> UpstreamForm:
    _check(
        config,
        {
            "block_order": "channel_then_token",
            "activation": "silu",
            "use_norms": True,
            "final_activation": None,
            "decay_clip": DECAY_CLIP,
        },
    )
    kind, form = config.token_mixing, MIXING_FORMS[config.token_mixing]
    rules = structured_rules(kind, config.context_length, form.projections != "never" and config.use_projections)
    heads = config.num_heads if form.has_heads and kind != "parallel_heads" else 0
    decay = {"decay_constant": config.decay_constant} if config.decay else {}
    return UpstreamForm("srm", rules, heads, hints={"mixer": kind, **decay, **_told(config)})


def _is_structured(config: LanguageMixerConfig) -> bool:
    return bool(MIXING_FORMS[config.token_mixing].sides) or config.token_mixing == "toeplitz"


def _told(config: LanguageMixerConfig | AutoencodingMixerConfig | BidirectionalMixerConfig) -> dict[str, Any]:
    names = ("padding_side", "pad_token_id", "embedding_position", "temperature")
    found = {name: getattr(config, name, None) for name in names}  # each kind has some of them
    return {name: value for name, value in found.items() if value is not None}


def _check(config: LanguageMixerConfig, expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        if getattr(config, name) != value:
            raise _without_counterpart(f"{name} {getattr(config, name)!r} with {config.token_mixing!r} token mixing")


def _without_counterpart(what: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"the model has {what}, which no upstream network has, so it cannot be written as one")
