"""Whole windows: prefill and training steps against the matmul peak."""

from collections.abc import Callable
from functools import partial
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx import optimizers as optim

from mlx_mixer.benchmarks.reference_model import MatmulPeak, flops_per_pass, random_model, seconds
from mlx_mixer.benchmarks.timing import Figure, summarise
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.training.language import language_loss

ROUNDS = 5
WARM_UP = 2
BATCH = 8


def pass_figures() -> dict[str, Figure]:
    """Share of the matmul peak that prefill and training reach, measured in turns with the peak."""
    model = random_model()
    ids = mx.random.randint(0, model.config.vocab_size, (BATCH, model.config.context_length))
    peak = MatmulPeak()
    prefill = partial(_evaluate, lambda: model(ids[:1]))
    prefill_shares = _shares(prefill, flops_per_pass(model, 1), peak)
    train = _training_step(model, ids)
    # Backward passes do each product twice more, once for either factor.
    train_shares = _shares(train, 3 * flops_per_pass(model, BATCH), peak)
    return {
        "prefill_peak_share": summarise(prefill_shares, "x", ">= 0.6"),
        "train_peak_share": summarise(train_shares, "x", ">= 0.45"),
        "train_tokens": summarise(_rates(train, ids.size), "tokens/s"),
    }


def _shares(run: Callable[[], None], flops: float, peak: MatmulPeak) -> list[float]:
    shares = []
    for turn in range(WARM_UP + ROUNDS):
        before = peak.measure()
        rate = flops / seconds(run)
        if turn >= WARM_UP:
            shares.append(rate / ((before + peak.measure()) / 2))
    return shares


def _rates(run: Callable[[], None], amount: int) -> list[float]:
    return [amount / seconds(run) for _ in range(ROUNDS)]


def _training_step(model: LanguageMixer, ids: mx.array) -> Callable[[], None]:
    optimizer = optim.AdamW(learning_rate=1e-4)
    optimizer.init(model.trainable_parameters())
    touched: list[Any] = [model.state, optimizer.state]
    gradients_of = nn.value_and_grad(model, language_loss)

    @partial(mx.compile, inputs=touched, outputs=touched)
    def step(batch: mx.array) -> mx.array:
        loss, gradients = gradients_of(model, batch, batch)
        optimizer.update(model, gradients)
        return loss

    return lambda: mx.eval(step(ids), touched)


def _evaluate(run: Callable[[], mx.array]) -> None:
    mx.eval(run())
