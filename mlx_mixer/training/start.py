"""How a fresh model starts: as a bag of words that its blocks add nothing to yet."""

from collections.abc import Sequence

import mlx.core as mx
import numpy as np
from mlx import nn
from mlx.utils import tree_flatten, tree_unflatten

from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.layers.block import MixerBlock
from mlx_mixer.layers.pooling import ContextualPooling, StaticPooling
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.training.token_vectors import TokenVectors
from mlx_mixer.training.unit_rows import unit_rows

# Mean length of a token vector: large against what the blocks add at first, small enough for the optimiser to turn it.
VECTOR_LENGTH = 4.0
# Weight of the rarest token in the pooled mean, and the least weight of any, as a share of it.
_LARGEST_WEIGHT, _SMALLEST_SHARE = 3.0, 0.005


def fresh_model(config: LanguageMixerConfig, tokens: TokenVectors | None) -> LanguageMixer:
    """A model whose every block adds nothing, with the given token vectors.

    Args:
        config: The model.
        tokens: Vectors and document frequencies; random vectors if omitted.
    """
    model = LanguageMixer(config)
    start_as_identity(model.layers)
    if tokens is not None:
        model.embed_tokens.weight = mx.array(VECTOR_LENGTH * tokens.vectors)
        if config.pooling == "token_weighted":
            model.pooling.token_weight = token_weights_from_idf(tokens)
    return model


def start_static(pooling: StaticPooling | ContextualPooling, tokens: TokenVectors) -> None:
    """Give "static" or "contextual" pooling vectors from co-occurrence, and weights from document frequencies."""
    pooling.table.weight = mx.array(VECTOR_LENGTH * tokens.vectors)
    pooling.token_weight = token_weights_from_idf(tokens)


def start_words(pooling: StaticPooling | ContextualPooling, words: TokenVectors, seed: int) -> None:
    """The same for words, most of which co-occurrence knows next to nothing of.

    Half of each vector is drawn at random, so that a text is also found by its very words. Weights are square roots of
    the inverse document frequency: it counts on both sides of a cosine.

    Args:
        pooling: What is started.
        words: Vectors and document frequencies.
        seed: Of the random halves.
    """
    random = np.random.default_rng(seed).standard_normal(words.vectors.shape).astype(np.float32)
    vectors = unit_rows(words.vectors) + unit_rows(random)
    pooling.table.weight = mx.array(VECTOR_LENGTH * unit_rows(vectors))
    pooling.token_weight = token_weights_from_idf(words, power=0.5)


def start_as_identity(blocks: Sequence[MixerBlock]) -> None:
    """Set the last map of each half of each block to zero; what comes before keeps its random values.

    Those give the zeros a gradient, so nothing is stuck.
    """
    for layer in blocks:
        mixing = layer["token_mixing"]
        _zero(mixing, _last_maps(mixing))
        if "channel_mixing" in layer:
            _zero(layer.channel_mixing.down, ("weight", "bias"))


def _last_maps(token_mixing: nn.Module) -> tuple[str, ...]:
    """Names of the parameters that the output of a token mixing is a product with."""
    if "out_proj" in token_mixing:
        return ("out_proj.weight", "out_proj.bias")
    if "outer_weight" in token_mixing:
        return ("outer_weight", "outer_bias")
    return ("weight", "diagonal", "bias")


def _zero(module: nn.Module, names: tuple[str, ...]) -> None:
    weights: list[tuple[str, mx.array]] = tree_flatten(module.parameters())  # type: ignore[assignment]  # no destination
    module.update(tree_unflatten([(name, mx.zeros_like(value)) for name, value in weights if name in names]))


def token_weights_from_idf(tokens: TokenVectors, power: float = 1.0) -> mx.array:
    """Values of `pooling.token_weight` whose softplus is proportional to a power of the inverse document frequency."""
    share = np.maximum(tokens.idf / max(float(tokens.idf.max()), 1e-9), _SMALLEST_SHARE) ** power
    return mx.array(np.log(np.expm1(_LARGEST_WEIGHT * share)).astype(np.float32))
