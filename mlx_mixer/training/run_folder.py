"""Where a training run keeps what it needs to go on after a kill: settings, weights, optimiser state, log."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx import optimizers as optim
from mlx.utils import tree_flatten, tree_unflatten

from mlx_mixer.atomic import write_atomically
from mlx_mixer.errors import MixerError, ResourceError, UsageError
from mlx_mixer.training.averaging import WeightAverage
from mlx_mixer.training.ranks import Ranks, current_ranks
from mlx_mixer.training.record import RunRecord

LOG_NAME = "training_log.jsonl"
_WORK = "training"


@dataclass
class RunState:
    """How far a run is.

    Attributes:
        step: Optimiser steps done.
        best_score: Best validation so far.
        validations_since_best: Validations since that one.
        stopped: Whether validation has ended the run.
    """

    step: int = 0
    best_score: float | None = None
    validations_since_best: int = 0
    stopped: bool = False


class RunFolder:
    """The folder a model is trained into.

    `OUT/training/` holds what resuming needs and is removed by `finish`; `OUT/training_log.jsonl` stays. Nothing in it
    looks like a model before the run is over. Where several processes train together, the first one alone reads and
    writes here.

    Args:
        path: The folder.
        ranks: The processes that train together; those that `mlx.launch` started if omitted.

    Attributes:
        work: Where more may be kept that only resuming needs; there while a run goes on.
    """

    def __init__(self, path: Path, ranks: Ranks | None = None) -> None:
        self.path = path
        self.ranks = ranks or current_ranks()
        self.log = path / LOG_NAME
        self.work = path / _WORK
        self._state = self.work / "state.safetensors"
        self._best = self.work / "best.safetensors"
        self._settings = self.work / "settings.json"
        self._saved_step = 0

    def open(self, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Begin a run, or check that the one found is the one asked for.

        Args:
            settings: Everything that decides the run's outcome, as JSON values.
            resume: Whether to go on with a run that is there.

        Raises:
            UsageError: If the folder holds something and `resume` is false, or no unfinished run of these settings and
                `resume` is true.
            MixerError: If the settings or data of another process differ from the first one's.
        """
        wanted = json.loads(json.dumps(settings))
        with self.ranks.together():
            if self.ranks.is_first:
                self._open(wanted, resume=resume)
        first = self.ranks.share_value(lambda: wanted)
        with self.ranks.together():
            if name := _first_difference(first, wanted):
                raise MixerError(
                    f"process {self.ranks.rank} has {name} = {wanted.get(name)!r}, where process 0 has "
                    f"{first.get(name)!r}; every machine needs the same data and the same options"
                )

    def _open(self, wanted: dict[str, Any], *, resume: bool) -> None:
        if not resume:
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                hint = "add --resume to go on with it" if self._settings.exists() else "choose another folder"
                raise UsageError(f"{self.path} already exists; {hint}")
            with self.writing():
                self.work.mkdir(parents=True)
                write_atomically(self._settings, json.dumps(wanted, indent=1).encode())
            return
        if not self._settings.exists():
            raise UsageError(f"{self.path} holds no unfinished training run to resume")
        found = json.loads(self._settings.read_text(encoding="utf-8"))
        if name := _first_difference(found, wanted):
            raise UsageError(
                f"{self.path} was started with {name} = {found.get(name)!r}, now it is {wanted.get(name)!r}; "
                "resume with the same settings"
            )

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is something to go on from."""
        return self.ranks.share_value(self._state.exists)

    def load(self, model: nn.Module, optimizer: optim.Optimizer, average: WeightAverage | None = None) -> RunState:
        """Put the last checkpoint's weights and optimiser state in place; a fresh state if there is none.

        All processes get the weights of the first one, whose arithmetic may differ from theirs in the last bit.
        """
        state = RunState(**self.ranks.share_value(lambda: asdict(self._load(model, optimizer, average))))
        if not self.ranks.is_alone:
            model.update(self.ranks.share(model.parameters()))
            optimizer.state = self.ranks.share(optimizer.state)
        self._saved_step = state.step
        return state

    def _load(self, model: nn.Module, optimizer: optim.Optimizer, average: WeightAverage | None) -> RunState:
        if not self._state.exists():
            self._cut_log(0)
            return RunState()
        loaded: Any = mx.load(str(self._state), return_metadata=True)  # declared as one of several containers
        arrays, metadata = loaded
        model.load_weights(_with_prefix(arrays, "model."))
        optimizer.state = tree_unflatten(_with_prefix(arrays, "optimizer."))
        if average is not None:
            average.state = dict(_with_prefix(arrays, "average."))
        state = RunState(**json.loads(metadata["run"]))
        self._cut_log(state.step)
        return state

    def save(
        self, model: nn.Module, optimizer: optim.Optimizer, state: RunState, average: WeightAverage | None = None
    ) -> None:
        """Write a checkpoint that replaces the last one in one step.

        Raises:
            MixerError: If a weight is not a number any more; the last checkpoint stays.
            ResourceError: If the disk is full; the last checkpoint stays.
        """
        if not self.ranks.is_first:
            return
        weights = _flat(model.parameters())
        if name := _first_not_finite(weights):
            raise MixerError(
                f"{name} is not a number any more after step {state.step}; train again with a lower learning rate. "
                f"{self.safe_so_far()}"
            )
        arrays = {f"model.{name}": value for name, value in weights.items()}
        arrays |= {f"optimizer.{name}": value for name, value in _flat(optimizer.state).items()}
        if average is not None:
            arrays |= {f"average.{name}": value for name, value in average.state.items()}
        with self.writing():
            _save_arrays(self._state, arrays, {"run": json.dumps(asdict(state))})
        self._saved_step = state.step

    def save_best(self, model: nn.Module) -> None:
        """Keep the weights as they are as the best so far."""
        if self.ranks.is_first:
            with self.writing():
                _save_arrays(self._best, _flat(model.parameters()), {})

    def load_best(self, model: nn.Module) -> None:
        """Put the best weights in the model; where the folder is, in the first process."""
        if self.ranks.is_first:
            model.load_weights(str(self._best))

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add a line to the log."""
        if self.ranks.is_first:
            with self.writing(), self.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Say in one line that something could not be written, and what is safe.

        Raises:
            ResourceError: That line.
        """
        try:
            yield
        except (OSError, RuntimeError) as error:  # MLX raises the latter for a short write
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise ResourceError(
                f"{self.path} could not be written ({reason}); make room on the disk, then go on with --resume. "
                f"{self.safe_so_far()}"
            ) from error

    def safe_so_far(self) -> str:
        """A sentence for people: which checkpoint is there."""
        if not self._saved_step:
            return "There is no checkpoint yet."
        return f"The checkpoint of step {self._saved_step} is intact."

    def entries(self) -> list[dict[str, Any]]:
        """The log, oldest first."""
        return _read_log(self.log)

    def record(self) -> RunRecord:
        """The run so far, for a report."""
        settings = json.loads(self._settings.read_text(encoding="utf-8")) if self._settings.exists() else {}
        return RunRecord(settings, self.entries(), self.ranks.size)

    def last_loss(self) -> float:
        """Loss of the last step in the log."""
        return self.ranks.share_value(self._last_loss)

    def _last_loss(self) -> float:
        losses = [entry["loss"] for entry in self.entries() if "loss" in entry]
        if not losses:
            raise MixerError(f"{self.log} holds no step")
        return float(losses[-1])

    def finish(self) -> None:
        """Remove what only resuming needs."""
        shutil.rmtree(self.work)

    def _cut_log(self, step: int) -> None:
        # Steps after the last checkpoint are done again, and would stand in the log twice.
        kept = [entry for entry in self.entries() if entry["step"] <= step]
        with self.writing():
            write_atomically(self.log, "".join(json.dumps(entry) + "\n" for entry in kept).encode())


def _read_log(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            break  # a kill in the middle of a line; what follows it was never checkpointed
    return entries


def _first_difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    return next((name for name in sorted({*wanted, *found}) if wanted.get(name) != found.get(name)), None)


def _first_not_finite(arrays: Mapping[str, mx.array]) -> str | None:
    sums = {name: array.abs().max() for name, array in arrays.items() if mx.issubdtype(array.dtype, mx.floating)}
    mx.eval(sums)
    return next((name for name, largest in sums.items() if not mx.isfinite(largest).item()), None)


def _flat(tree: Any) -> dict[str, mx.array]:  # a tree of arrays has no useful type
    return dict(tree_flatten(tree))


def _with_prefix(arrays: Mapping[str, mx.array], prefix: str) -> list[tuple[str, mx.array]]:
    return [(name.removeprefix(prefix), value) for name, value in arrays.items() if name.startswith(prefix)]


def _save_arrays(path: Path, arrays: dict[str, mx.array], metadata: dict[str, str]) -> None:
    partial = path.with_suffix(".partial.safetensors")
    try:
        mx.save_safetensors(str(partial), arrays, metadata)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)  # it would take the room that is missing
        raise
