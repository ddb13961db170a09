"""A model folder as its conversion is verified: unpacked to float32, on the CPU, where products are exact to rounding.

On some GPUs float32 products are computed with fewer bits, which says nothing about the weights.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from convert.sources.weight_file import Float32Array
from mlx_mixer.checkpoint import load_model
from mlx_mixer.models.autoencoding import AutoencodingMixer
from mlx_mixer.models.bidirectional import BidirectionalMixer
from mlx_mixer.models.kinds import Model
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.models.retrieval import RetrievalMixer

Mixing = Callable[[mx.array], mx.array]

PART = 4096  # token vectors that are compared at once


@dataclass(frozen=True)
class ConvertedModel:
    """What is compared of a converted model.

    Attributes:
        model: The model.
    """

    model: Model

    def scores(self, inputs: npt.NDArray[np.generic]) -> Float32Array:
        """Its answer to ids ``(B, n)``, or of a re-ranker to rows ``(B, m, d)``."""
        array = mx.array(inputs)
        is_encoder = isinstance(self.model, AutoencodingMixer) and self.model.config.num_decoder_layers == 0
        return _numpy(self.model.hidden_states(array) if is_encoder else self.model(array))

    def mixings(self) -> list[Callable[[Float32Array], Float32Array]]:
        """Every token mixing, in the order of the layers, as a function of normalised input ``(1, L, d)``."""
        return [_of_numpy(module) for module in _mixings(self.model)]

    def projected_table(self, direction: Float32Array) -> Float32Array:
        """The dot product of every token's vector with one vector, ``(V,)``."""
        model = self.model
        if isinstance(model, RetrievalMixer):
            raise TypeError("a re-ranker has no token vectors")
        embed = model.encoder.embed_tokens if isinstance(model, AutoencodingMixer) else model.embed_tokens
        ids = mx.arange(model.config.vocab_size)
        parts = [embed(ids[start : start + PART]) @ mx.array(direction) for start in range(0, len(ids), PART)]
        return _numpy(mx.concatenate(parts))


@contextlib.contextmanager
def converted_model(folder: Path) -> Iterator[ConvertedModel]:
    """Load a folder and compute on the CPU while the block runs."""
    with mx.stream(mx.cpu):
        yield ConvertedModel(load_model(folder))


def _mixings(model: Model) -> Sequence[Mixing]:
    match model:
        case BidirectionalMixer():
            return [module for layer in model.layers for module in (layer.forward_mixing, layer.reverse_mixing)]
        case AutoencodingMixer():
            decoder = model.decoder if model.config.num_decoder_layers else []
            return [layer.token_mixing for layer in (*model.encoder.layers, *decoder)]
        case LanguageMixer() | RetrievalMixer():
            return [layer.token_mixing for layer in model.layers]


def _of_numpy(module: Mixing) -> Callable[[Float32Array], Float32Array]:
    return lambda x: _numpy(module(mx.array(x)))


def _numpy(array: mx.array) -> Float32Array:
    return np.array(array, np.float32)
