"""Two language models of equal size with one face: a masked mixer and mlx-lm's Llama."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import mlx.core as mx
from mlx import nn
from mlx_lm.models import llama
from mlx_lm.models.base import create_attention_mask

from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.study.settings import LLAMA, MIXER, StudySettings

# Inner widths are multiples of this, which matrix products like.
_WIDTH_STEP = 8


class Contender(Protocol):
    """What the studies need of a language model; each is an `nn.Module`.

    `size` is the number of values that training changes and the function depends on, so the masked halves of mixing
    matrices do not count. `flops` are multiplications and additions of the matrix products of one forward pass over one
    window, head included; a causal product counts whole, as both models compute it on a CPU.
    """

    size: int

    def token_table(self) -> nn.Embedding:
        """The embedding, ``(V, D)``."""
        ...

    def head(self) -> mx.array:
        """The output head, ``(V, D)``."""
        ...

    def hidden_states(self, ids: mx.array) -> mx.array:
        """What the head sees, ``(B, L)`` to ``(B, L, D)``."""
        ...

    def last_block(self, vectors: mx.array) -> mx.array:
        """What the last block leaves, before any norm, from token vectors ``(B, L, D)``."""
        ...

    def flops(self, length: int, *, with_head: bool = True) -> float:
        """Of one window of so many tokens."""
        ...


class MixerContender(nn.Module):
    """The masked mixer: "flat" token mixing, channel mixing four times as wide as the model, a head of its own.

    Args:
        config: Its sizes.
    """

    def __init__(self, config: LanguageMixerConfig) -> None:
        super().__init__()
        self.model = LanguageMixer(config)
        self.size = mixer_size(config)

    def token_table(self) -> nn.Embedding:
        return self.model.embed_tokens

    def head(self) -> mx.array:
        return self.model.lm_head.weight

    def hidden_states(self, ids: mx.array) -> mx.array:
        return self.model.hidden_states(ids)

    def last_block(self, vectors: mx.array) -> mx.array:
        return self.model.hidden_from_vectors(vectors)

    def flops(self, length: int, *, with_head: bool = True) -> float:
        config = self.model.config
        return length * (mixer_block_flops(config, length) + with_head * head_flops(config))


class LlamaContender(nn.Module):
    """mlx-lm's Llama, as it is: rotary positions, RMSNorm with one before the head, SwiGLU, a head of its own.

    Args:
        args: Its sizes.
    """

    def __init__(self, args: Any) -> None:  # mlx-lm declares no types
        super().__init__()
        self.model = llama.Model(args)
        self.size = llama_size(args)

    def token_table(self) -> nn.Embedding:
        return self.model.model.embed_tokens

    def head(self) -> mx.array:
        return self.model.lm_head.weight

    def hidden_states(self, ids: mx.array) -> mx.array:
        return self.model.model(ids)

    def last_block(self, vectors: mx.array) -> mx.array:
        return through_llama_blocks(self.model.model.layers, vectors)

    def flops(self, length: int, *, with_head: bool = True) -> float:
        args = self.model.args
        return length * (llama_block_flops(args, length) + with_head * head_flops(args))


def contenders(settings: StudySettings, context_length: int) -> Mapping[str, Callable[[], Any]]:
    """Makers of fresh models of equal size, by name; what they make is a `Contender` and a module."""
    config = mixer_config(settings, context_length)
    args = equal_llama(config, settings.num_heads)
    return {MIXER: lambda: MixerContender(config), LLAMA: lambda: LlamaContender(args)}


def mixer_config(settings: StudySettings, context_length: int) -> LanguageMixerConfig:
    """The masked mixer of a study."""
    return LanguageMixerConfig(
        vocab_size=settings.vocab_size,
        hidden_size=settings.hidden_size,
        num_layers=settings.num_layers,
        context_length=context_length,
        intermediate_size=4 * settings.hidden_size,
    )


def equal_llama(config: LanguageMixerConfig, num_heads: int) -> Any:  # mlx-lm declares no types
    """The Llama as wide and deep as a mixer, with the inner width that makes its size come nearest."""
    dims = config.hidden_size
    block = (mixer_size(config) - 2 * config.vocab_size * dims) / config.num_layers
    inner = (block - 4 * dims * dims - 2 * dims) / (3 * dims)
    return llama.ModelArgs(
        model_type="llama",
        hidden_size=dims,
        num_hidden_layers=config.num_layers,
        intermediate_size=max(1, round(inner / _WIDTH_STEP)) * _WIDTH_STEP,
        num_attention_heads=num_heads,
        rms_norm_eps=1e-5,
        vocab_size=config.vocab_size,
        max_position_embeddings=config.context_length,
        tie_word_embeddings=False,
    )


def mixer_size(config: LanguageMixerConfig) -> int:
    """Values of a flat mixer without those above the diagonals."""
    length = config.context_length
    return config.num_parameters - config.num_layers * length * (length - 1) // 2


def llama_size(args: Any) -> int:
    """Values of a Llama with a head of its own and as many key as query heads."""
    dims = args.hidden_size
    block = 4 * dims * dims + 3 * dims * args.intermediate_size + 2 * dims
    return int(2 * args.vocab_size * dims + args.num_hidden_layers * block + dims)


def mixer_block_flops(config: LanguageMixerConfig, length: int) -> float:
    """Of all blocks, per position: a row of the mixing matrix with all rows, and the two maps of the channel mixing."""
    dims = config.hidden_size
    return config.num_layers * (2 * length * dims + 4 * dims * config.intermediate_size)


def llama_block_flops(args: Any, length: int) -> float:
    """Of all blocks, per position: four projections, scores and weighted sum, the three maps of SwiGLU."""
    dims = args.hidden_size
    return float(args.num_hidden_layers * (8 * dims * dims + 4 * length * dims + 6 * dims * args.intermediate_size))


def head_flops(sizes: Any) -> float:
    """Of the output head, per position."""
    return float(2 * sizes.hidden_size * sizes.vocab_size)


def through_llama_blocks(layers: Any, vectors: mx.array) -> mx.array:
    """The residual stream after Llama blocks, without a norm."""
    mask = create_attention_mask(vectors, None)
    for layer in layers:
        vectors = layer(vectors, mask)
    return vectors
