"""Where a training run keeps what it needs to go on after a kill: settings, weights, optimiser state, log."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx import optimizers as optim
from mlx.utils import tree_flatten, tree_unflatten

from mlx_mixer.atomic import write_atomically
from mlx_mixer.errors import MixerError, UsageError

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
    looks like a model before the run is over.

    Args:
        path: The folder.

    Attributes:
        work: Where more may be kept that only resuming needs; there while a run goes on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / LOG_NAME
        self.work = path / _WORK
        self._state = self.work / "state.safetensors"
        self._best = self.work / "best.safetensors"
        self._settings = self.work / "settings.json"

    def open(self, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Begin a run, or check that the one found is the one asked for.

        Args:
            settings: Everything that decides the run's outcome, as JSON values.
            resume: Whether to go on with a run that is there.

        Raises:
            UsageError: If the folder holds something and `resume` is false, or no unfinished run of these settings and
                `resume` is true.
        """
        wanted = json.loads(json.dumps(settings))
        if not resume:
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                hint = "add --resume to go on with it" if self._settings.exists() else "choose another folder"
                raise UsageError(f"{self.path} already exists; {hint}")
            self.work.mkdir(parents=True)
            write_atomically(self._settings, json.dumps(wanted, indent=1).encode())
            return
        if not self._settings.exists():
            raise UsageError(f"{self.path} holds no unfinished training run to resume")
        found = json.loads(self._settings.read_text(encoding="utf-8"))
        changed = [name for name in sorted({*wanted, *found}) if wanted.get(name) != found.get(name)]
        if changed:
            name = changed[0]
            raise UsageError(
                f"{self.path} was started with {name} = {found.get(name)!r}, now it is {wanted.get(name)!r}; "
                "resume with the same settings"
            )

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is something to go on from."""
        return self._state.exists()

    def load(self, model: nn.Module, optimizer: optim.Optimizer) -> RunState:
        """Put the last checkpoint's weights and optimiser state in place; a fresh state if there is none."""
        if not self._state.exists():
            self._cut_log(0)
            return RunState()
        loaded: Any = mx.load(str(self._state), return_metadata=True)  # declared as one of several containers
        arrays, metadata = loaded
        model.load_weights(_with_prefix(arrays, "model."))
        optimizer.state = tree_unflatten(_with_prefix(arrays, "optimizer."))
        state = RunState(**json.loads(metadata["run"]))
        self._cut_log(state.step)
        return state

    def save(self, model: nn.Module, optimizer: optim.Optimizer, state: RunState) -> None:
        """Write a checkpoint that replaces the last one in one step."""
        arrays = {f"model.{name}": value for name, value in _flat(model.parameters()).items()}
        arrays |= {f"optimizer.{name}": value for name, value in _flat(optimizer.state).items()}
        _save_arrays(self._state, arrays, {"run": json.dumps(asdict(state))})

    def save_best(self, model: nn.Module) -> None:
        """Keep the weights as they are as the best so far."""
        _save_arrays(self._best, _flat(model.parameters()), {})

    def load_best(self, model: nn.Module) -> None:
        """Put the best weights in the model."""
        model.load_weights(str(self._best))

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add a line to the log."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def entries(self) -> list[dict[str, Any]]:
        """The log, oldest first."""
        return _read_log(self.log)

    def last_loss(self) -> float:
        """Loss of the last step in the log."""
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


def _flat(tree: Any) -> dict[str, mx.array]:  # a tree of arrays has no useful type
    return dict(tree_flatten(tree))


def _with_prefix(arrays: Mapping[str, mx.array], prefix: str) -> list[tuple[str, mx.array]]:
    return [(name.removeprefix(prefix), value) for name, value in arrays.items() if name.startswith(prefix)]


def _save_arrays(path: Path, arrays: dict[str, mx.array], metadata: dict[str, str]) -> None:
    partial = path.with_suffix(".partial.safetensors")
    mx.save_safetensors(str(partial), arrays, metadata)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
