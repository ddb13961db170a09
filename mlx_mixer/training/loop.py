"""The one training loop: AdamW, warm-up, cosine decay, clipping, a log, checkpoints that a killed run goes on from."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, cast

import mlx.core as mx
from mlx import nn
from mlx import optimizers as optim

from mlx_mixer.errors import MixerError, UsageError
from mlx_mixer.training.run_folder import RunFolder, RunState

Loss = Callable[..., mx.array]
# A loss and its gradients by parameter, where more happens than one differentiation of one function; not compiled.
Gradients = Callable[..., tuple[mx.array, Any]]
Batch = Sequence[mx.array]


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How a model is trained, whatever the objective.

    Attributes:
        steps: Optimiser steps in all.
        learning_rate: Peak, reached after `warmup_steps`, then a cosine down to a tenth.
        warmup_steps: Steps of linear rise from 0.
        embedding_rate: Factor on the learning rate of the token vectors and the pooling; the rest gets the plain rate.
        weight_decay: AdamW's, on everything.
        clip_norm: Largest global norm of a gradient.
        checkpoint_every: Steps between two checkpoints; a kill loses at most that many.
        validate_every: Steps between two validations, where there is one.
        patience: Validations without a new best after which training stops; 0 never stops early.
        seed: Decides the order of the data and every random choice.
    """

    steps: int
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    embedding_rate: float = 1.0
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    checkpoint_every: int = 100
    validate_every: int = 100
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "checkpoint_every", "validate_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("learning_rate", "embedding_rate", "clip_norm"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} is {value}; it must be a number above 0")
        for name in ("warmup_steps", "weight_decay", "patience", "seed"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} is {getattr(self, name)}; it must not be negative")


@dataclass(frozen=True)
class StepReport:
    """One step as the log holds it.

    Attributes:
        step: Steps done, this one included.
        loss: Loss of the batch before the update, in nats.
        learning_rate: The rate of this step.
        tokens: Tokens of the batch.
        seconds: Wall-clock time of the step, the making of its batch included.
    """

    step: int
    loss: float
    learning_rate: float
    tokens: int
    seconds: float


@dataclass(frozen=True)
class TrainingSummary:
    """How a run ended.

    Attributes:
        steps: Steps done, earlier parts of a resumed run included.
        loss: Mean loss of the last (at most 50) steps of this process, in nats.
        best_score: Best validation, if there was one.
        stopped_early: Whether validation ended the run before its last step.
    """

    steps: int
    loss: float
    best_score: float | None
    stopped_early: bool


def train(
    model: nn.Module,
    loss: Loss,
    batch_at: Callable[[int], tuple[Batch, int]],
    settings: LoopSettings,
    folder: RunFolder,
    *,
    report: Callable[[StepReport], None],
    validate: Callable[[], float] | None = None,
    gradients: Gradients | None = None,
) -> TrainingSummary:
    """Train a model in place, starting after the last checkpoint in `folder` if it holds one.

    Args:
        model: Trained in place; frozen parts stay as they are.
        loss: ``loss(model, *batch)`` to a scalar.
        batch_at: The batch of a step (counted from 0) and its number of tokens. It must depend on nothing but the
            step and the model as it is before that step, so that a resumed run sees what an uninterrupted one would
            have seen.
        settings: The dials.
        folder: Where log and checkpoints go.
        report: Told after every step.
        validate: Score of the model as it is, higher is better. The best weights are kept and end up in the model.
        gradients: ``gradients(model, *batch)`` to the loss and the gradients of the trainable parameters, instead of
            differentiating `loss`.

    Raises:
        MixerError: If the loss is not a number any more.
    """
    optimizer = _optimizer(settings)
    optimizer.init(model.trainable_parameters())
    state = folder.load(model, optimizer)
    if gradients is None:
        step_once = _compiled_step(model, optimizer, loss, settings.clip_norm)
    else:
        step_once = _step_by_gradients(model, optimizer, gradients, settings.clip_norm)
    losses: list[float] = []
    try:
        while state.step < settings.steps and not state.stopped:
            entry = _run_step(step_once, batch_at, settings, state.step, folder)
            losses = [*losses[-49:], entry.loss]
            state.step = entry.step
            folder.append(asdict(entry))
            report(entry)
            if validate is not None and (state.step % settings.validate_every == 0 or state.step == settings.steps):
                _validate(model, validate(), state, settings, folder)
            if state.step % settings.checkpoint_every == 0:
                folder.save(model, optimizer, state)
    except KeyboardInterrupt:
        folder.save(model, optimizer, state)
        raise
    folder.save(model, optimizer, state)
    if state.best_score is not None:
        folder.load_best(model)
    mean = sum(losses) / len(losses) if losses else folder.last_loss()
    return TrainingSummary(state.step, mean, state.best_score, state.stopped)


def learning_rate_at(step: int, settings: LoopSettings) -> float:
    """The rate of a step counted from 0: linear warm-up, then a cosine from the peak to a tenth of it."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    progress = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * (0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2)


class _Optimizer(optim.MultiOptimizer):
    """AdamW whose token vectors and pooling may learn faster or slower than the rest."""

    def __init__(self, settings: LoopSettings) -> None:
        self._factors = (settings.embedding_rate, 1.0)
        # 0.99 instead of 0.999: runs of a few hundred steps must forget their first gradients.
        parts = [optim.AdamW(1e-3, betas=[0.9, 0.99], weight_decay=settings.weight_decay) for _ in self._factors]
        super().__init__(parts, [_is_embedding])

    def set_rate(self, rate: float) -> None:
        for part, factor in zip(self.optimizers, self._factors, strict=True):
            part.learning_rate = mx.array(rate * factor)


def _optimizer(settings: LoopSettings) -> _Optimizer:
    return _Optimizer(settings)


def _is_embedding(path: str, _: mx.array) -> bool:
    return path.startswith(("embed_tokens", "pooling"))


def _compiled_step(
    model: nn.Module, optimizer: _Optimizer, loss: Loss, clip_norm: float
) -> Callable[[float, Batch], float]:
    """One optimiser step as a function of the learning rate and the batch, to the loss before it."""
    gradients_of = nn.value_and_grad(model, loss)
    touched = [model.state, optimizer.state]

    @partial(mx.compile, inputs=touched, outputs=touched)
    def step_once(*batch: mx.array) -> mx.array:
        value, gradients = gradients_of(model, *batch)
        gradients, _ = optim.clip_grad_norm(gradients, clip_norm)
        optimizer.update(model, gradients)
        return value

    def run(rate: float, batch: Batch) -> float:
        optimizer.set_rate(rate)
        value = step_once(*batch)
        mx.eval(value, *touched)
        return cast("float", value.item())

    return run


def _step_by_gradients(
    model: nn.Module, optimizer: _Optimizer, gradients_of: Gradients, clip_norm: float
) -> Callable[[float, Batch], float]:
    """As `_compiled_step`, with only the update compiled."""
    touched = [model.state, optimizer.state]

    @partial(mx.compile, inputs=touched, outputs=touched)
    def update(gradients: Any) -> None:
        clipped, _ = optim.clip_grad_norm(gradients, clip_norm)
        optimizer.update(model, clipped)

    def run(rate: float, batch: Batch) -> float:
        optimizer.set_rate(rate)
        value, gradients = gradients_of(model, *batch)
        update(gradients)
        mx.eval(value, *touched)
        return cast("float", value.item())

    return run


def _run_step(
    step_once: Callable[[float, Batch], float],
    batch_at: Callable[[int], tuple[Batch, int]],
    settings: LoopSettings,
    step: int,
    folder: RunFolder,
) -> StepReport:
    started = time.perf_counter()
    batch, tokens = batch_at(step)
    rate = learning_rate_at(step, settings)
    value = step_once(rate, batch)
    if not math.isfinite(value):
        raise MixerError(
            f"the loss became {value} at step {step + 1}; train again with a learning rate below {rate:.2g}, "
            f"or go on from the last checkpoint in {folder.path} with other data"
        )
    return StepReport(step + 1, value, rate, tokens, time.perf_counter() - started)


def _validate(model: nn.Module, score: float, state: RunState, settings: LoopSettings, folder: RunFolder) -> None:
    folder.append({"step": state.step, "score": score})
    if state.best_score is None or score > state.best_score:
        state.best_score, state.validations_since_best = score, 0
        folder.save_best(model)
    else:
        state.validations_since_best += 1
        state.stopped = bool(settings.patience) and state.validations_since_best >= settings.patience
