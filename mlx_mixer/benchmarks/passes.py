"""Whole windows: prefill and training steps against the matmul peak."""

from collections.abc import Callable
from functools import partial

import mlx.core as mx
from mlx import nn

from mlx_mixer.benchmarks.reference_model import MatmulPeak, flops_per_pass, random_model, seconds
from mlx_mixer.benchmarks.timing import Figure, summarise
from mlx_mixer.layers.token_mixing import FlatTokenMixing
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.training.gradients import gradients_in
from mlx_mixer.training.lanes import count_lanes
from mlx_mixer.training.language import language_loss, split_targets
from mlx_mixer.training.loop_settings import LoopSettings
from mlx_mixer.training.optimizer import RatedAdamW
from mlx_mixer.training.ranks import ALONE
from mlx_mixer.training.steps import make_step
from mlx_mixer.training.tuning import Tuning

ROUNDS = 5
WARM_UP = 1
BATCH = 8


def pass_figures() -> dict[str, Figure]:
    """Share of the matmul peak that prefill and training reach, measured in turns with the peak."""
    model = random_model()
    ids = mx.random.randint(0, model.config.vocab_size, (BATCH, model.config.context_length))
    peak = MatmulPeak()
    prefill = partial(_evaluate, lambda: model(ids[:1]))
    shares = []
    for turn in range(WARM_UP + ROUNDS):
        share, _ = _share_of_peak(prefill, flops_per_pass(model, 1), peak)
        if turn >= WARM_UP:
            shares.append(share)
    return {"prefill_peak_share": summarise(shares, "x", ">= 0.6"), **_training_figures(model, ids, peak)}


def _training_figures(model: LanguageMixer, ids: mx.array, peak: MatmulPeak) -> dict[str, Figure]:
    train = _training_step(model, ids)
    dense = _training_step(_with_dense_masking(random_model()), ids)
    adapted = _training_step(_with_adapters(random_model()), ids)
    # Backward passes do each product twice more, once for either factor.
    flops = 3 * flops_per_pass(model, BATCH)
    shares, times, ratios, adapted_ratios = [], [], [], []
    for turn in range(WARM_UP + ROUNDS):
        share, time = _share_of_peak(train, flops, peak)
        dense_time, adapted_time = seconds(dense), seconds(adapted)
        if turn >= WARM_UP:
            shares.append(share)
            times.append(time)
            ratios.append(dense_time / time)
            adapted_ratios.append(time / adapted_time)
    return {
        "train_peak_share": summarise(shares, "x", ">= 0.45"),
        "train_vs_dense_masking": summarise(ratios, "x", ">= 1.1"),
        "train_lora_speed": summarise(adapted_ratios, "x", ">= 1.2"),
        "train_tokens": summarise([ids.size / time for time in times], "tokens/s"),
    }


def _share_of_peak(run: Callable[[], None], flops: float, peak: MatmulPeak) -> tuple[float, float]:
    """Rate of `run` over the peak measured before and after it, and its seconds."""
    before = peak.measure()
    time = seconds(run)
    return flops / time / ((before + peak.measure()) / 2), time


class _DenseMasking(nn.Module):
    """The same token mixing as a whole product with a matrix that is masked in every pass."""

    def __init__(self, mixing: FlatTokenMixing) -> None:
        super().__init__()
        self.weight = mixing.weight[0]
        self.bias = mixing.bias

    def sublayer(self, x: mx.array, norm: nn.Module, _cache: None) -> mx.array:
        return x + mx.tril(self.weight) @ norm(x) + self.bias[:, None]


def _with_dense_masking(model: LanguageMixer) -> LanguageMixer:
    for layer in model.layers:
        assert isinstance(layer.token_mixing, FlatTokenMixing), "the model of the figures is a flat one"
        layer.token_mixing = _DenseMasking(layer.token_mixing)
    return model


def _with_adapters(model: LanguageMixer) -> LanguageMixer:
    Tuning(lora=8).apply(model)
    return model


def _training_step(model: LanguageMixer, ids: mx.array) -> Callable[[], None]:
    """A step as `mlx-mixer train language` takes it."""
    settings = LoopSettings(steps=1)
    optimizer = RatedAdamW(settings)
    optimizer.init(model.trainable_parameters())
    step = make_step(
        model,
        optimizer,
        gradients_in(model, language_loss, mx.float32),
        settings.clip_norm,
        ranks=ALONE,
        split=split_targets,
        lanes=count_lanes(ALONE),
    )

    def run() -> None:
        step(1e-4, (ids, ids))

    return run


def _evaluate(run: Callable[[], mx.array]) -> None:
    mx.eval(run())
