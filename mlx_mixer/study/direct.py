"""The paper's direct retrieval: a mixer that sees the frozen embeddings of a query and of all candidates at once."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_mixer.model_configs.retrieval import RetrievalMixerConfig
from mlx_mixer.models.retrieval import RetrievalMixer, match_loss
from mlx_mixer.study.cells import Cell, Cells, Work
from mlx_mixer.study.embeddings import Floats, pair_vectors, top1_figures
from mlx_mixer.study.pairs import PairIds
from mlx_mixer.study.race import Race, Task
from mlx_mixer.study.settings import NAMES, RetrievalSettings
from mlx_mixer.training.evaluate import Top1

_LAYERS = 2
_HELD_OUT_SETS = 8
_NAME = "retrieval mixer"


def direct_plan(slots: int, settings: RetrievalSettings) -> list[Work]:
    """What there is to compute for one number of candidates; both models' steps cost the same and are timed once."""
    works = [work for name in NAMES for work in Race.plan(_title(slots, name), (_NAME,), settings, _timing(slots))]
    return [*dict.fromkeys(works), *(Work(f"{_title(slots, name)} top-1", 2.0) for name in NAMES)]


class Direct:
    """A retrieval mixer for the embeddings of one contender.

    Args:
        load: Makes the contender, trained on next tokens; its weights stay as they are.
        name: Its name.
        slots: Candidates beside the query.
        parts: Pairs to train on, to choose the learning rate by, and to report on.
        settings: Of the study.
        cells: Its results.
    """

    def __init__(
        self,
        load: Callable[[], Any],
        name: str,
        slots: int,
        parts: tuple[PairIds, PairIds, PairIds],
        settings: RetrievalSettings,
        cells: Cells,
    ) -> None:
        self._load = load
        self._title = _title(slots, name)
        self._slots = slots
        self._parts = parts
        self._settings = settings
        self._cells = cells
        config = RetrievalMixerConfig(
            hidden_size=settings.hidden_size,
            num_layers=_LAYERS,
            context_length=slots + 1,
            intermediate_size=4 * settings.hidden_size,
        )
        sets = settings.sets_per_batch
        task = Task(
            name=self._title,
            loss=match_loss,
            batch_at=lambda step: (self._sets(0, step), sets * (slots + 1)),
            choose=partial(self._held_out, 1),
            report=partial(self._held_out, 2),
            flops=lambda _: sets * _flops(config),
            timing=_timing(slots),
        )
        self._race = Race(task, {_NAME: partial(_SizedRetrievalMixer, config)}, settings, cells)

    def train(self) -> Cell:
        """See `Race.run`."""
        return self._race.run()[_NAME]

    def top1(self) -> Cell:
        """How often the right one of the candidates scores highest, on the pairs to report on."""
        return self._cells.get(f"{self._title} top-1", self._count)

    def _count(self) -> Cell:
        model = self._race.load(_NAME)
        right = asked = 0
        for step in range(-(-self._settings.queries // self._settings.sets_per_batch)):
            rows, matches = self._sets(2, step)
            right += int((model(rows).argmax(axis=1) == matches).sum().item())
            asked += len(matches)
        return {"top1": {str(self._slots): top1_figures(Top1(self._slots, right / asked, asked))}}

    def _held_out(self, part: int, model: Any) -> float:
        return float(np.mean([float(match_loss(model, *self._sets(part, step))) for step in range(_HELD_OUT_SETS)]))

    def _sets(self, part: int, step: int) -> tuple[mx.array, mx.array]:
        queries, passages = self._vectors[part]
        seed = (self._settings.seed, step)
        return candidate_sets(queries, passages, self._slots, self._settings.sets_per_batch, seed)

    @cached_property
    def _vectors(self) -> list[tuple[Floats, Floats]]:
        """Embeddings of all parts, divided by one constant, so that both contenders' come in the same size."""
        model = self._load()
        vectors = [pair_vectors(model, part) for part in self._parts]
        scale = np.float32(np.sqrt(np.mean([np.square(side).mean() for side in vectors[0]])))
        return [(queries / scale, passages / scale) for queries, passages in vectors]


class _SizedRetrievalMixer(RetrievalMixer):
    """A retrieval mixer that knows its size, as contenders do."""

    def __init__(self, config: RetrievalMixerConfig) -> None:
        super().__init__(config)
        self.size = config.num_parameters


def candidate_sets(
    queries: Floats, passages: Floats, slots: int, count: int, seed: tuple[int, int]
) -> tuple[mx.array, mx.array]:
    """Queries, each with its passage at a random place among others.

    Args:
        queries: ``(N, D)`` embeddings.
        passages: ``(N, D)``; row i answers query i.
        slots: Candidates of a set, at most N.
        count: Sets.
        seed: Decides everything.

    Returns:
        ``(count, slots + 1, D)`` with the query in row 0, and ``(count,)`` places of the right candidate.
    """
    rng = np.random.default_rng(seed)
    drawn = np.stack([rng.choice(len(queries), slots, replace=False) for _ in range(count)])
    places = rng.integers(0, slots, count)
    asked = queries[drawn[np.arange(count), places]]
    return mx.array(np.concatenate([asked[:, None], passages[drawn]], axis=1)), mx.array(places)


def _flops(config: RetrievalMixerConfig) -> float:
    dims, rows = config.hidden_size, config.context_length
    return rows * config.num_layers * (2 * rows * dims + 4 * dims * config.intermediate_size)


def _title(slots: int, name: str) -> str:
    return f"direct {slots} {name}"


def _timing(slots: int) -> str:
    return f"direct {slots}"
