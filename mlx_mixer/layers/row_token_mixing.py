"""What the token mixings have in common whose decode state is the rows they have seen."""

import mlx.core as mx
from mlx import nn

from mlx_mixer.cache import Block, DecodeCache, MixerCache, RowMixing, StepCache, mix_from_start


class RowTokenMixing(nn.Module):
    """A token mixing of one or two causal products of rows, in a form that shows the products to a cache."""

    def mixings(self) -> list[RowMixing]:
        """The causal products, in the order in which they are computed."""
        raise NotImplementedError

    def sublayer(self, x: mx.array, norm: nn.Module, cache: DecodeCache | None) -> mx.array:
        """`x` plus the token mixing of its norm."""
        if isinstance(cache, StepCache) and self.is_one_product and isinstance(norm, nn.LayerNorm):
            return cache.add_mixed(x, (norm.weight, norm.bias), norm.eps)
        return x + self(norm(x), cache)

    @property
    def is_one_product(self) -> bool:
        """Whether the token mixing is a single matrix product with nothing around it, which one kernel can compute."""
        return False

    def make_cache(self) -> MixerCache:
        """An empty decode cache."""
        return MixerCache(len(self.mixings()))

    def step_cache(self, position: mx.array, entries: list[Block]) -> StepCache:
        """What `MixerCache.enter_step` returned, as a compiled step sees it."""
        return StepCache(position, entries)


def mix(mixings: list[RowMixing], index: int, rows: mx.array, cache: DecodeCache | None) -> mx.array:
    """Mix the rows of one of the products with those before them, which are in the cache if there is one."""
    if cache is None:
        return mix_from_start(mixings[index], rows)
    return cache.mix(index, mixings[index], rows)
