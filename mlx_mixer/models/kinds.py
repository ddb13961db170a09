"""The class of every kind of config."""

from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.model_configs.autoencoding import AutoencodingMixerConfig
from mlx_mixer.model_configs.bidirectional import BidirectionalMixerConfig
from mlx_mixer.model_configs.kinds import ModelConfig
from mlx_mixer.model_configs.retrieval import RetrievalMixerConfig
from mlx_mixer.models.autoencoding import AutoencodingMixer
from mlx_mixer.models.bidirectional import BidirectionalMixer
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.models.retrieval import RetrievalMixer

Model = LanguageMixer | AutoencodingMixer | RetrievalMixer | BidirectionalMixer


def make_model(config: ModelConfig) -> Model:
    """Build the model that a config describes, with random weights."""
    match config:
        case LanguageMixerConfig():
            return LanguageMixer(config)
        case AutoencodingMixerConfig():
            return AutoencodingMixer(config)
        case RetrievalMixerConfig():
            return RetrievalMixer(config)
        case BidirectionalMixerConfig():
            return BidirectionalMixer(config)
