"""One block of a masked mixer."""

import mlx.core as mx
from mlx import nn

from mlx_mixer.cache import DecodeCache
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.layers.channel_mixing import ChannelMixing
from mlx_mixer.layers.token_mixing import make_token_mixing


class MixerBlock(nn.Module):
    r"""Token mixing, then channel mixing, each on normalised input and added to the residual stream.

    Computes :math:`x \leftarrow x + \mathrm{TokenMixing}(\mathrm{LN}(x))`, then :math:`x \leftarrow x +
    \mathrm{ChannelMixing}(\mathrm{LN}(x))`.

    Source: https://arxiv.org/abs/2409.01482.

    Shape:
        - Input and output: ``(B, L, D)``.
    """

    def __init__(self, config: LanguageMixerConfig) -> None:
        super().__init__()
        self.token_norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.token_mixing = make_token_mixing(config)
        self.channel_norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.channel_mixing = ChannelMixing(config.hidden_size, config.intermediate_size)

    def __call__(self, x: mx.array, cache: DecodeCache | None = None) -> mx.array:
        x = x + self.token_mixing(self.token_norm(x), cache)
        return x + self.channel_mixing(self.channel_norm(x))
