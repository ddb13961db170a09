"""What is known about a run when it is over: its settings, its course, the machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from platform import machine, system
from typing import Any

import mlx.core as mx

from mlx_mixer.training.measure import Measure, measure_of
from mlx_mixer.version import __version__

# Steps whose mean loss stands for the end of a run.
LAST_STEPS = 50


@dataclass(frozen=True)
class RunRecord:
    """A run.

    Attributes:
        settings: What decided it; "kind" names the objective.
        entries: The log: steps, and validations between them.
        processes: How many trained together.
    """

    settings: Mapping[str, Any]
    entries: Sequence[Mapping[str, Any]]
    processes: int = 1

    @property
    def kind(self) -> str:
        """The objective: language, retrieval, autoencoder or reranker; "model" if the settings do not say."""
        return str(self.settings.get("kind", "model"))

    @property
    def measure(self) -> Measure:
        """What its validations measure."""
        return measure_of(self.kind)

    @property
    def steps(self) -> list[Mapping[str, Any]]:
        """The log's steps."""
        return [entry for entry in self.entries if "loss" in entry]

    @property
    def scores(self) -> list[tuple[int, float]]:
        """Step and score of every validation; of weights and their average, the better one."""
        return [
            (entry["step"], max(entry["score"], entry.get("average_score", entry["score"])))
            for entry in self.entries
            if "score" in entry
        ]

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and score of the best validation."""
        return max(self.scores, key=lambda scored: scored[1], default=None)

    def summary(self) -> dict[str, Any]:
        """The run in a few figures, as JSON values."""
        steps = self.steps
        seconds = sum(entry["seconds"] for entry in steps)
        tokens = sum(entry["tokens"] for entry in steps)
        last = steps[-LAST_STEPS:]
        best = self.best
        return {
            "kind": self.kind,
            "steps": steps[-1]["step"] if steps else 0,
            "tokens": tokens,
            "seconds": round(seconds, 1),
            "tokens_per_second": round(tokens / seconds, 1) if seconds else None,
            "loss": round(sum(entry["loss"] for entry in last) / len(last), 4) if last else None,
            "best_step": best[0] if best else None,
            "best_score": round(best[1], 6) if best else None,
            "processes": self.processes,
            "device": f"{system()} {machine()}, {mx.default_device().type.name}",
            "versions": {"mlx-mixer": __version__, "mlx": version("mlx")},
        }
