"""Which kind of model a `config.json` describes."""

from collections.abc import Mapping
from typing import Any

from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.errors import UnsupportedModelError
from mlx_mixer.model_configs.autoencoding import AutoencodingMixerConfig
from mlx_mixer.model_configs.bidirectional import BidirectionalMixerConfig
from mlx_mixer.model_configs.retrieval import RetrievalMixerConfig

ModelConfig = LanguageMixerConfig | AutoencodingMixerConfig | RetrievalMixerConfig | BidirectionalMixerConfig

_KINDS: tuple[type[ModelConfig], ...] = (
    LanguageMixerConfig,
    AutoencodingMixerConfig,
    RetrievalMixerConfig,
    BidirectionalMixerConfig,
)


def config_from_dict(values: Mapping[str, Any]) -> ModelConfig:
    """Build the config of the kind that `model_type` names.

    Args:
        values: What the config's `to_dict` wrote.

    Raises:
        UnsupportedModelError: If it is none of our kinds.
        ConfigError: If the values are wrong for that kind.
    """
    named = values.get("model_type")
    for kind in _KINDS:
        if kind.model_type == named:
            return kind.from_dict(values)
    known = ", ".join(repr(kind.model_type) for kind in _KINDS)
    raise UnsupportedModelError(f"the model is of type {named!r}; this version runs {known}")
