"""Contenders trained by the same loop on the same batches, for equal compute, each at a learning rate that suits it."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten

from mlx_mixer.errors import MixerError
from mlx_mixer.study.cells import Cell, Cells, Work
from mlx_mixer.study.settings import StudySettings
from mlx_mixer.training.loop import Batch, LoopSettings, Loss, StepReport, train
from mlx_mixer.training.run_folder import RunFolder

# The first are tried always, the others towards the better end, until the best has a worse one on either side.
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
_FIRST_RATES = RATES[2:5]
# Steps timed for each contender, in turns; the fastest counts, since other processes only make steps slower.
_TIMED_STEPS, _TURNS = 8, 2
_FEWEST_STEPS = 10
_POINTS_PER_CURVE = 16
# Backward passes cost two forward ones: one product for the rows' gradient and one for the weights'.
_PASSES_PER_STEP = 3

Make = Callable[[], Any]  # an nn.Module with a size and a count of its operations


@dataclass(frozen=True)
class Task:
    """What contenders are trained to do.

    Attributes:
        name: Prefix of its results.
        loss: ``loss(model, *batch)`` to a scalar, in nats.
        batch_at: The batch of a step and its number of tokens, the same for every contender.
        choose: A held-out loss that decides the learning rate and is drawn as curve.
        report: A loss on text that decided nothing.
        flops: Of one forward pass over a batch, of a contender.
        timing: Name under which step times are kept, for tasks whose steps cost the same; its own name if empty.
        comes_apart: Whether a batch's loss is the mean of its rows' losses; they are then computed side by side.
    """

    name: str
    loss: Loss
    batch_at: Callable[[int], tuple[Batch, int]]
    choose: Callable[[nn.Module], float]
    report: Callable[[nn.Module], float]
    flops: Callable[[Any], float]
    timing: str = ""
    comes_apart: bool = False


class Race:
    """The training of some contenders for one task.

    Args:
        task: The task.
        makers: Fresh contenders by name.
        settings: Seconds, seed and what is made equal.
        cells: Where results are kept; trained weights stand beside them.
    """

    def __init__(self, task: Task, makers: Mapping[str, Make], settings: StudySettings, cells: Cells) -> None:
        self._task = task
        self._makers = makers
        self._settings = settings
        self._cells = cells
        self._work = cells.out / "work"

    @staticmethod
    def plan(task: str, names: tuple[str, ...], settings: StudySettings, timing: str = "") -> list[Work]:
        """What there is to compute for a task; see `Task` for the names."""
        trials = 3.5 * settings.sweep_share * settings.seconds
        parts = [
            Work(f"{task} {name} {part}", seconds)
            for name in names
            for part, seconds in (("sweep", trials), ("training", settings.seconds))
        ]
        # Evaluations and the compiling of steps come on top, about a second for each model made.
        return [
            Work(f"{timing or task} steps", 3.0 * len(names)),
            *(Work(part.name, part.seconds * 1.1 + 1) for part in parts),
        ]

    def measure(self) -> Cell:
        """Time steps and decide how many each contender gets; `run` does it too, unless it is done."""
        return self._cells.get(f"{self._task.timing or self._task.name} steps", self._measure_steps)

    def run(self) -> dict[str, Cell]:
        """Train every contender.

        Returns:
            By name: "size", "rate", "steps", "tokens", "flops", "seconds" (steps times the measured time of one),
            "trials" (rate and held-out loss), "curve" (tokens and held-out loss) and "loss".
        """
        steps = self.measure()
        return {name: self._result(name, steps[name]) for name in self._makers}

    def load(self, name: str) -> Any:
        """A trained contender, after `run`."""
        model = self._fresh(name)
        model.load_weights(str(self._weights(name)))
        return model

    def fresh(self, name: str) -> Any:
        """The contender as its training began."""
        return self._fresh(name)

    def _result(self, name: str, measured: Cell) -> Cell:
        title = f"{self._task.name} {name}"
        sweep = self._cells.get(f"{title} sweep", lambda: {"trials": self._sweep(name, measured["steps"])})
        rate = best_rate(sweep["trials"])
        trained = self._cells.get(f"{title} training", lambda: self._train_fully(name, measured["steps"], rate))
        return {**measured, "rate": rate, **sweep, **trained}

    def _measure_steps(self) -> Cell:
        seconds = dict.fromkeys(self._makers, float("inf"))
        for _ in range(_TURNS):
            for name in self._makers:
                reports: list[StepReport] = []
                self._train(name, _TIMED_STEPS, 1e-4, reports.append)
                seconds[name] = min(seconds[name], *(entry.seconds for entry in reports))
        models = {name: self._fresh(name) for name in self._makers}
        flops = {name: _PASSES_PER_STEP * self._task.flops(model) for name, model in models.items()}
        counts = equal_steps(self._settings, seconds, flops)
        tokens = self._task.batch_at(0)[1]
        return {
            name: {
                "size": models[name].size,
                "steps": count,
                "tokens": count * tokens,
                "flops": count * flops[name],
                "seconds": count * seconds[name],
            }
            for name, count in counts.items()
        }

    def _sweep(self, name: str, steps: int) -> list[list[float]]:
        length = max(_FEWEST_STEPS, round(steps * self._settings.sweep_share))
        label = f"{self._task.name} {name} sweep"
        trials: dict[float, float] = {}
        while (rate := next_rate(trials)) is not None:
            share = len(trials) / (len(trials) + 2)
            self._cells.tell(label, share, f"learning rate {rate:.2g}")
            trials[rate] = self._trial(name, length, rate)
        return [[rate, loss] for rate, loss in sorted(trials.items())]

    def _trial(self, name: str, steps: int, rate: float) -> float:
        try:
            return self._task.choose(self._train(name, steps, rate, lambda _: None))
        except MixerError:  # the loss was no number any more, which is an answer too
            return float("inf")

    def _train_fully(self, name: str, steps: int, rate: float) -> Cell:
        curve: list[list[float]] = []
        every = max(1, steps // _POINTS_PER_CURVE)
        tokens = self._task.batch_at(0)[1]

        def note(model: nn.Module) -> float:
            curve.append([min(every * (len(curve) + 1), steps) * tokens, self._task.choose(model)])
            return -curve[-1][1]

        def tell(entry: StepReport) -> None:
            self._cells.tell(f"{self._task.name} {name} training", entry.step / steps, f"loss {entry.loss:.3f}")

        model = self._train(name, steps, rate, tell, validate=note, every=every)
        self._work.mkdir(exist_ok=True)
        mx.save_safetensors(str(self._weights(name)), dict(tree_flatten(model.parameters())))
        return {"curve": curve, "loss": self._task.report(model)}

    def _train(
        self,
        name: str,
        steps: int,
        rate: float,
        report: Callable[[StepReport], None],
        *,
        validate: Callable[[nn.Module], float] | None = None,
        every: int = 1,
    ) -> nn.Module:
        """A fresh contender after some steps."""
        model = self._fresh(name)
        # Only whole results are gone on from: a half-trained model is trained anew.
        path = self._work / "run"
        shutil.rmtree(path, ignore_errors=True)
        loop = LoopSettings(
            steps=steps,
            learning_rate=rate,
            warmup_steps=max(1, steps // 20),
            checkpoint_every=steps,
            validate_every=every,
            seed=self._settings.seed,
        )
        folder = RunFolder(path)
        folder.open(asdict(loop), resume=False)
        scored = (lambda: validate(model)) if validate else None
        train(
            model,
            self._task.loss,
            self._task.batch_at,
            loop,
            folder,
            report=report,
            validate=scored,
            in_lanes=self._task.comes_apart,
        )
        shutil.rmtree(path)
        return model

    def _fresh(self, name: str) -> Any:
        mx.random.seed(self._settings.seed)
        model = self._makers[name]()
        mx.eval(model.parameters())
        return model

    def _weights(self, name: str) -> Path:
        return self._work / f"{self._task.name} {name}.safetensors"


def equal_steps(settings: StudySettings, seconds: Mapping[str, float], flops: Mapping[str, float]) -> dict[str, int]:
    """Steps for each contender, so that all use the same of what is made equal.

    Args:
        settings: What that is, and the seconds of the first contender.
        seconds: Of one step, by name.
        flops: Of one step, by name.
    """
    first = next(iter(seconds))
    price = {"time": seconds, "flops": flops, "tokens": dict.fromkeys(seconds, 1.0)}[settings.equal_by]
    fewest = _FEWEST_STEPS * max(price.values()) / price[first]
    steps = round(max(fewest, settings.seconds / seconds[first]))
    return {name: round(steps * price[first] / price[name]) for name in seconds}


def next_rate(trials: Mapping[float, float]) -> float | None:
    """The learning rate to try after some trials (rate to loss); `None` if the best is not at an end."""
    untried = [rate for rate in _FIRST_RATES if rate not in trials]
    if untried:
        return untried[0]
    best = RATES.index(min(trials, key=lambda rate: trials[rate]))
    neighbours = [RATES[place] for place in (best - 1, best + 1) if 0 <= place < len(RATES)]
    return next((rate for rate in neighbours if rate not in trials), None)


def best_rate(trials: list[list[float]]) -> float:
    """The rate with the smallest loss."""
    return min(trials, key=lambda trial: trial[1])[0]
