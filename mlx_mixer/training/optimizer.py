"""AdamW whose token vectors and pooling may learn faster or slower than the rest."""

import mlx.core as mx
from mlx import optimizers as optim

from mlx_mixer.training.loop_settings import LoopSettings


class RatedAdamW(optim.MultiOptimizer):
    """AdamW with one learning rate for all and a factor for token vectors and pooling.

    Args:
        settings: The factor and the weight decay.
    """

    def __init__(self, settings: LoopSettings) -> None:
        self._factors = (settings.embedding_rate, 1.0)
        # 0.99 instead of 0.999: runs of a few hundred steps must forget their first gradients.
        parts = [optim.AdamW(1e-3, betas=[0.9, 0.99], weight_decay=settings.weight_decay) for _ in self._factors]
        super().__init__(parts, [_is_embedding])

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the next update."""
        for part, factor in zip(self.optimizers, self._factors, strict=True):
            part.learning_rate = mx.array(rate * factor)


def _is_embedding(path: str, _: mx.array) -> bool:
    # "contextual" pooling has blocks of its own, which learn as blocks do.
    return path.startswith(("embed_tokens", "pooling", "word_pooling")) and not path.startswith("pooling.layers.")
