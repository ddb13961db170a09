"""One block of a masked mixer."""

from typing import Any

import mlx.core as mx
from mlx import nn

from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.layers.channel_mixing import ChannelMixing
from mlx_mixer.layers.token_mixing import make_token_mixing


class MixerBlock(nn.Module):
    r"""Token mixing and channel mixing, each on normalised input and added to the residual stream.

    Computes :math:`x \leftarrow x + \mathrm{TokenMixing}(\mathrm{LN}(x))`, then :math:`x \leftarrow x +
    \mathrm{ChannelMixing}(\mathrm{LN}(x))`, or the other way round where the config says so. Near-linear mixers leave
    out the norms, linear ones the channel mixing too.

    Source: https://arxiv.org/abs/2409.01482.

    Shape:
        - Input and output: ``(B, L, D)``.
    """

    def __init__(self, config: LanguageMixerConfig) -> None:
        super().__init__()
        self.token_norm = _norm(config)
        self.token_mixing = make_token_mixing(config)
        self._is_channel_first = config.block_order == "channel_then_token"
        self._has_channel_mixing = config.intermediate_size > 0
        if self._has_channel_mixing:
            self.channel_norm = _norm(config)
            self.channel_mixing = ChannelMixing(config.hidden_size, config.intermediate_size, config.activation)

    def __call__(self, x: mx.array, cache: Any = None) -> mx.array:  # what the token mixing made
        if self._has_channel_mixing and self._is_channel_first:
            x = x + self.channel_mixing(self.channel_norm(x))
        x = self.token_mixing.sublayer(x, self.token_norm, cache)
        if self._has_channel_mixing and not self._is_channel_first:
            x = x + self.channel_mixing(self.channel_norm(x))
        return x


def _norm(config: LanguageMixerConfig) -> nn.Module:
    return nn.LayerNorm(config.hidden_size, eps=config.norm_eps) if config.use_norms else nn.Identity()
