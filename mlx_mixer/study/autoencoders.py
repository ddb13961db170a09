"""Two autoencoders of equal size with one face: a masked mixer's and one made of mlx-lm's Llama blocks.

In both an encoder reads a window, its state at the last position is the vector of the window, and a decoder that sees
that vector at every position says which token stood where. Source: https://arxiv.org/abs/2409.01482, the autoencoders.
"""

from collections.abc import Callable, Mapping
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx_lm.models import llama

from mlx_mixer.model_configs.autoencoding import AutoencodingMixerConfig
from mlx_mixer.models.autoencoding import AutoencodingMixer
from mlx_mixer.study.contenders import (
    equal_llama,
    head_flops,
    llama_block_flops,
    llama_size,
    mixer_block_flops,
    mixer_config,
    through_llama_blocks,
)
from mlx_mixer.study.settings import LLAMA, MIXER, StudySettings
from mlx_mixer.training.cross_entropy import head_cross_entropy


class MixerAutoencoder(nn.Module):
    """The masked mixer's, with the vector repeated at every position.

    Args:
        config: Its sizes.
    """

    def __init__(self, config: AutoencodingMixerConfig) -> None:
        super().__init__()
        self.model = AutoencodingMixer(config)
        layers, length = config.num_layers + config.num_decoder_layers, config.context_length
        self.size = config.num_parameters - layers * length * (length - 1) // 2

    def head(self) -> mx.array:
        """The output head, ``(V, D)``."""
        return self.model.lm_head.weight

    def hidden_states(self, ids: mx.array) -> mx.array:
        """What the head sees, ``(B, L)`` to ``(B, L, D)``."""
        return self.model.hidden_states(ids)

    def flops(self, length: int) -> float:
        """Of one forward pass over one window; see `mlx_mixer.study.contenders.Contender`."""
        stack = self.model.config.stack_config()
        return length * (2 * mixer_block_flops(stack, length) + head_flops(stack))


class LlamaAutoencoder(nn.Module):
    """Two stacks of Llama blocks; a Llama's own norm ends each.

    Args:
        args: Sizes of one stack; mlx-lm declares no types.
    """

    def __init__(self, args: Any) -> None:
        super().__init__()
        self.encoder = llama.LlamaModel(args)
        self.decoder = [llama.TransformerBlock(args) for _ in range(args.num_hidden_layers)]
        self.norm = nn.RMSNorm(args.hidden_size, eps=args.rms_norm_eps)
        self.lm_head = nn.Linear(args.hidden_size, args.vocab_size, bias=False)
        self.size = 2 * llama_size(args) - 2 * args.vocab_size * args.hidden_size

    def head(self) -> mx.array:
        """The output head, ``(V, D)``."""
        return self.lm_head.weight

    def hidden_states(self, ids: mx.array) -> mx.array:
        """What the head sees, ``(B, L)`` to ``(B, L, D)``."""
        vector = self.encoder(ids)[:, -1:]
        repeated = mx.broadcast_to(vector, (*ids.shape, vector.shape[-1]))
        return self.norm(through_llama_blocks(self.decoder, repeated))

    def flops(self, length: int) -> float:
        """Of one forward pass over one window; see `mlx_mixer.study.contenders.Contender`."""
        args = self.encoder.args
        return length * (2 * llama_block_flops(args, length) + head_flops(args))


def autoencoders(settings: StudySettings, context_length: int) -> Mapping[str, Callable[[], Any]]:
    """Makers of fresh autoencoders of equal size, by name; `num_layers` blocks on either side."""
    stack = mixer_config(settings, context_length)
    config = AutoencodingMixerConfig(
        vocab_size=stack.vocab_size,
        hidden_size=stack.hidden_size,
        num_layers=stack.num_layers,
        num_decoder_layers=stack.num_layers,
        context_length=context_length,
        intermediate_size=stack.intermediate_size,
    )
    args = equal_llama(stack, settings.num_heads)
    return {MIXER: lambda: MixerAutoencoder(config), LLAMA: lambda: LlamaAutoencoder(args)}


def copy_loss(model: Any, ids: mx.array) -> mx.array:
    """Mean cross-entropy of every position against its own token, in nats; ids ``(B, L)``."""
    hidden = model.hidden_states(ids)
    return head_cross_entropy(hidden.reshape(-1, hidden.shape[-1]), model.head(), ids.reshape(-1))


def share_copied(model: Any, ids: mx.array) -> float:
    """Share of tokens that the head ranks first at their position."""
    best = (model.hidden_states(ids) @ model.head().T).argmax(axis=-1)
    return float((best == ids).mean())
