"""The one training loop: AdamW, warm-up, a schedule, clipping, a log, checkpoints that a killed run goes on from."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial

from mlx import nn

from mlx_mixer.errors import MixerError, UsageError
from mlx_mixer.training.averaging import WeightAverage
from mlx_mixer.training.gradients import Gradients as Gradients
from mlx_mixer.training.gradients import Loss as Loss
from mlx_mixer.training.gradients import gradients_in
from mlx_mixer.training.interrupts import Interrupt, deferred_interrupts
from mlx_mixer.training.lanes import count_lanes
from mlx_mixer.training.loop_settings import LoopSettings as LoopSettings
from mlx_mixer.training.loop_settings import learning_rate_at
from mlx_mixer.training.optimizer import RatedAdamW
from mlx_mixer.training.precision import resolve_precision
from mlx_mixer.training.ranks import Ranks
from mlx_mixer.training.run_folder import RunFolder, RunState
from mlx_mixer.training.splitting import Batch as Batch
from mlx_mixer.training.splitting import Split, split_rows
from mlx_mixer.training.steps import Step, make_step


@dataclass(frozen=True)
class StepReport:
    """One step as the log holds it.

    Attributes:
        step: Steps done, this one included.
        loss: Loss of the batch before the update, in nats.
        learning_rate: The rate of this step.
        tokens: Tokens of the batch, in all processes.
        seconds: Wall-clock time of the step, the making of its batch included.
        gradient_norm: Global norm of the gradient before clipping.
    """

    step: int
    loss: float
    learning_rate: float
    tokens: int
    seconds: float
    gradient_norm: float = 0.0


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


BatchAt = Callable[[int], tuple[Batch, int]]


def train(
    model: nn.Module,
    loss: Loss,
    batch_at: BatchAt,
    settings: LoopSettings,
    folder: RunFolder,
    *,
    report: Callable[[StepReport], None],
    validate: Callable[[], float] | None = None,
    gradients: Gradients | None = None,
    split: Split = split_rows,
    in_lanes: bool = False,
) -> TrainingSummary:
    """Train a model in place, starting after the last checkpoint in `folder` if it holds one.

    Under `mlx.launch` every process calls this with the same arguments; each computes its parts of each batch.

    Args:
        model: Trained in place; frozen parts stay as they are.
        loss: ``loss(model, *batch)`` to a scalar, a mean over what `split` counts.
        batch_at: The batch of a step (counted from 0) and its number of tokens. It must depend on nothing but the
            step and the model as it is before that step, so that a resumed run sees what an uninterrupted one would
            have seen. It is the batch of the whole step: `settings.accumulate` times the number of processes times
            what fits one pass.
        settings: The dials.
        folder: Where log and checkpoints go, and which processes train together.
        report: Told after every step, in the first process.
        validate: Score of the model as it is, higher is better; asked in the first process. The best weights are kept
            and end up in the model.
        gradients: ``gradients(model, *batch)`` to the loss and the gradients of the trainable parameters, instead of
            differentiating `loss`; not compiled.
        split: Shares a batch out, if it is computed in parts.
        in_lanes: Whether parts of it may be computed side by side, see `mlx_mixer.training.lanes`; for a loss of which
            the parts, weighted as they count, come to the same as the whole.

    Raises:
        MixerError: If the loss is not a number any more, or another process failed.
        ResourceError: If the disk is full; the last checkpoint is then still there.
        KeyboardInterrupt: After Ctrl+C, when the step is done and a checkpoint written.
    """
    optimizer = RatedAdamW(settings)
    optimizer.init(model.trainable_parameters())
    if settings.average != "none" and validate is None:
        raise UsageError("averaged weights are kept where validation finds them better; give data to validate on")
    average = None if settings.average == "none" else WeightAverage(model, settings.average, settings.steps)
    state = folder.load(model, optimizer, average)
    step = make_step(
        model,
        optimizer,
        gradients or gradients_in(model, loss, resolve_precision(settings.precision)),
        settings.clip_norm,
        accumulate=settings.accumulate,
        ranks=folder.ranks,
        split=split,
        lanes=count_lanes(folder.ranks) if in_lanes else 1,
        is_compiled=gradients is None,
    )
    save = partial(folder.save, model, optimizer, state, average)
    losses: list[float] = []
    with deferred_interrupts() as interrupt:
        while state.step < settings.steps and not state.stopped:
            try:
                entry = _run_step(step, batch_at, settings, folder, state.step)
                losses = [*losses[-49:], entry.loss]
                state.step = entry.step
                if average is not None:
                    average.update(state.step)
                folder.append(asdict(entry))
                if folder.ranks.is_first:
                    report(entry)
                if validate is not None and _is_due(state.step, settings.validate_every, settings):
                    _validate(model, validate, state, settings, folder, average)
            except KeyboardInterrupt:
                # A second Ctrl+C may have come in the middle of a step; any other comes from `report`, after one.
                if not interrupt.is_requested:
                    save()
                raise
            if _is_due(state.step, settings.checkpoint_every, settings) or state.stopped:
                save()
            if _is_stop_asked(interrupt, folder.ranks):
                save()
                raise KeyboardInterrupt
    if state.best_score is not None:
        folder.load_best(model)
    mean = sum(losses) / len(losses) if losses else folder.last_loss()
    return TrainingSummary(state.step, mean, state.best_score, state.stopped)


def _run_step(step: Step, batch_at: BatchAt, settings: LoopSettings, folder: RunFolder, number: int) -> StepReport:
    started = time.perf_counter()
    with folder.ranks.together():
        batch, tokens = batch_at(number)
    rate = learning_rate_at(number, settings)
    outcome = step(rate, batch)
    if not (math.isfinite(outcome.loss) and math.isfinite(outcome.gradient_norm)):
        what = "gradient" if math.isfinite(outcome.loss) else "loss"
        value = outcome.gradient_norm if what == "gradient" else outcome.loss
        raise MixerError(
            f"the {what} became {value} at step {number + 1}; train again with a learning rate below {rate:.2g}. "
            f"{folder.safe_so_far()}"
        )
    seconds = time.perf_counter() - started
    return StepReport(number + 1, outcome.loss, rate, tokens, seconds, outcome.gradient_norm)


def _validate(
    model: nn.Module,
    validate: Callable[[], float],
    state: RunState,
    settings: LoopSettings,
    folder: RunFolder,
    average: WeightAverage | None,
) -> None:
    """Judge the weights, and their average if it is another; keep the better one if it is the best so far."""
    score = folder.ranks.share_value(validate)
    entry: dict[str, float] = {"step": state.step, "score": score}
    kept: AbstractContextManager[None] = nullcontext()
    if average is not None and average.differs(state.step):
        with average.in_place():
            entry["average_score"] = folder.ranks.share_value(validate)
        if entry["average_score"] > score:
            score, kept = entry["average_score"], average.in_place()
    folder.append(entry)
    if state.best_score is None or score > state.best_score:
        state.best_score, state.validations_since_best = score, 0
        with kept:
            folder.save_best(model)
    else:
        state.validations_since_best += 1
        state.stopped = bool(settings.patience) and state.validations_since_best >= settings.patience


def _is_due(step: int, every: int, settings: LoopSettings) -> bool:
    return step % every == 0 or step == settings.steps


def _is_stop_asked(interrupt: Interrupt, ranks: Ranks) -> bool:
    return ranks.any(interrupt.is_requested)
