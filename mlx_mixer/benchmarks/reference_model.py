"""The model of the speed figures, and the two limits it is measured against: memory bandwidth and matmul peak."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.memory_layout import lay_out_for_decode
from mlx_mixer.models.language import LanguageMixer

SIZES = {"vocab_size": 8192, "hidden_size": 512, "num_layers": 8, "context_length": 512, "intermediate_size": 2048}
# A matrix far larger than any cache, and a product large enough to reach the peak.
STREAMED_ROWS, STREAMED_COLUMNS = 8192, 2048
PEAK_SIZE = 2048
READINGS = 3


def random_model(**changes: Any) -> LanguageMixer:
    """A flat mixer with random weights: d 512, 8 layers, 512 positions, 8,192 token ids unless said otherwise."""
    model = LanguageMixer(LanguageMixerConfig(**{**SIZES, **changes}))
    lay_out_for_decode(model)  # as `load_model` does
    mx.eval(model.parameters())
    return model


def bytes_per_token(model: LanguageMixer) -> int:
    """Weights that one decoded token reads whole: channel mixing and the output head.

    Of the mixing matrices, embeddings and the cache it reads a few rows, thousandths of these.
    """
    read = ("channel_mixing", "lm_head")
    weights: list[tuple[str, mx.array]] = tree_flatten(model.parameters())  # type: ignore[assignment]  # no destination
    return sum(array.nbytes for name, array in weights if any(part in name for part in read))


def flops_per_pass(model: LanguageMixer, batch: int) -> float:
    """Multiplications and additions of the matrix products in one forward pass over full windows."""
    config = model.config
    length, dims = config.context_length, config.hidden_size
    channel = 2 * 2 * dims * config.intermediate_size
    mixing = 2 * length * dims
    head = 2 * dims * config.vocab_size
    return batch * length * (config.num_layers * (channel + mixing) + head)


class MemoryLimit:
    """Bytes per second that one large matrix-vector product reads."""

    def __init__(self) -> None:
        self._matrix = mx.random.normal((STREAMED_ROWS, STREAMED_COLUMNS))
        self._vector = mx.random.normal((1, STREAMED_COLUMNS))
        mx.eval(self._matrix, self._vector)

    def measure(self) -> float:
        """Median of a few readings."""
        return median(self._matrix.nbytes / seconds(self._read) for _ in range(READINGS))

    def _read(self) -> None:
        mx.eval(self._vector @ self._matrix.T)


class MatmulPeak:
    """Operations per second of one large square product."""

    def __init__(self) -> None:
        self._left = mx.random.normal((PEAK_SIZE, PEAK_SIZE))
        mx.eval(self._left)

    def measure(self) -> float:
        """Median of a few products."""
        return median(2 * PEAK_SIZE**3 / seconds(self._multiply) for _ in range(READINGS))

    def _multiply(self) -> None:
        mx.eval(self._left @ self._left)


def seconds(run: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
