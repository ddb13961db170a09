"""What a short query costs on a model that was trained on left-padded text."""

import time
from collections.abc import Callable

import mlx.core as mx

from mlx_mixer.benchmarks.timing import Figure, summarise
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.text_pooling import make_pooling

QUERY_TOKENS = 12
ROUNDS = 7
WARM_UP = 2
CONFIG = LanguageMixerConfig(
    vocab_size=8192,
    hidden_size=512,
    num_layers=8,
    context_length=512,
    intermediate_size=2048,
    padding_side="left",
    pad_token_id=0,
)


def query_figures() -> dict[str, Figure]:
    """Time of a query of 12 tokens, and its share of that of the full window, on random weights and in turns."""
    model = LanguageMixer(CONFIG)
    mx.eval(model.parameters())
    pooling = make_pooling(model)
    length = CONFIG.context_length
    query = mx.random.randint(1, CONFIG.vocab_size, (1, QUERY_TOKENS))
    window = mx.concatenate([mx.zeros((1, length - QUERY_TOKENS), query.dtype), query], axis=1)
    short, whole = [], []
    for turn in range(WARM_UP + ROUNDS):
        whole_seconds = _seconds(lambda: pooling(window, mx.array([length])))
        short_seconds = _seconds(lambda: pooling(query, mx.array([QUERY_TOKENS])))
        if turn >= WARM_UP:
            whole.append(whole_seconds)
            short.append(short_seconds)
    shares = [100 * part / full for part, full in zip(short, whole, strict=True)]
    return {
        "embed_query": summarise([1000 * seconds for seconds in short], "ms"),
        "embed_query_share": summarise(shares, "% of window", "<= 10"),
    }


def _seconds(run: Callable[[], mx.array]) -> float:
    started = time.perf_counter()
    mx.eval(run())
    return time.perf_counter() - started
