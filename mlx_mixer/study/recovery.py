"""Study 1: can the input of a model be recovered from its output?

The paper's claim: from what the last block leaves, gradient descent finds the input of a masked mixer again, before
training and after it, while most of a transformer's input stays lost.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_mixer.study.cells import Cell, Cells, Work
from mlx_mixer.study.hamming import nearest_tokens, normalised_hamming
from mlx_mixer.study.inversion import Descent, Recovered, recover
from mlx_mixer.study.language import language_race
from mlx_mixer.study.race import Race
from mlx_mixer.study.settings import NAMES, RecoverySettings
from mlx_mixer.study.texts import Ids, TokenTexts, even_windows

# Fresh weights as MLX draws them; the same with token vectors of standard deviation 1, as PyTorch draws those of a
# masked mixer; after training.
STATES = ("untrained", "untrained, unit vectors", "trained")
# What is compared: the states of all positions, or that of the last one, which must hold all of the others.
OUTPUTS = ("all", "last")
DESCENTS: tuple[Descent, ...] = ("plain", "adam")
# Step sizes in standard deviations of the token vectors: powers of ten, then between the best and its neighbours.
_COARSE: dict[Descent, tuple[float, ...]] = {"plain": (1e-4, 1e-3, 1e-2, 1e-1, 1.0), "adam": (1e-2, 1e-1, 1.0)}
_BETWEEN = 10**0.5
# The paper's code looks for a token among so many.
_GUESSES = 5


def recovery_plan(settings: RecoverySettings) -> list[Work]:
    """What there is to compute."""
    rows = {name: len(grid) * settings.trial_inputs for name, grid in _COARSE.items()}
    # A million operations of the blocks, forward and back, take about 0.03 ms.
    size = 12 * settings.hidden_size**2 * settings.num_layers
    per_row = settings.iterations * settings.context_length * 6 * size * 0.03e-9
    return Race.plan("language", NAMES, settings) + [
        Work(_title(state, outputs, descent, name), per_row * (rows[descent] + settings.inputs))
        for state in STATES
        for outputs in OUTPUTS
        for descent in DESCENTS
        for name in NAMES
    ]


def study_recovery(texts: TokenTexts, settings: RecoverySettings, cells: Cells) -> dict[str, Any]:
    """Recover inputs from both models, before and after training.

    Returns:
        "training" (see `Race.run`, by name) and "rows": for each state, compared output, descent and model the mean
        Hamming distance with its 95 % half-width, by the nearest token and by five, and how near the output came.
    """
    race = language_race("language", texts, settings.context_length, settings, cells)
    training = race.run()
    inputs = even_windows(texts.report, settings.context_length, settings.inputs * settings.context_length)
    # Other text than the inputs: a step size is not fitted to what is reported.
    trials = even_windows(texts.choose, settings.context_length, settings.trial_inputs * settings.context_length)
    rows = []
    for state in STATES:
        models = {name: _in_state(race, name, state) for name in NAMES}
        for outputs in OUTPUTS:
            for descent in DESCENTS:
                for name, model in models.items():
                    job = _Job(model, outputs, descent, settings, cells, _title(state, outputs, descent, name))
                    found = cells.get(job.title, partial(job.run, inputs, trials))
                    rows.append({"state": state, "outputs": outputs, "descent": descent, "model": name, **found})
    return {"training": training, "rows": rows}


class _Job:
    """The recovery of some inputs from one model."""

    def __init__(
        self, model: Any, outputs: str, descent: Descent, settings: RecoverySettings, cells: Cells, title: str
    ) -> None:
        self.title = title
        self._table = model.token_table()
        self._vectors = np.array(self._table.weight)
        self._scale = float(self._vectors.std())
        self._outputs = (lambda x: model.last_block(x)[:, -1:]) if outputs == "last" else model.last_block
        # The last position's own state holds its token in plain sight; what counts is whether it holds the others.
        self._counted = slice(None, -1) if outputs == "last" else slice(None)
        self._descent = descent
        self._settings = settings
        self._cells = cells

    def run(self, inputs: Ids, trials: Ids) -> Cell:
        rate = self._best_rate(trials)
        found = self._recover(inputs, [rate], 0.5)
        guesses = nearest_tokens(found.vectors, self._vectors, _GUESSES)[:, self._counted]
        wanted = inputs[:, self._counted].astype(np.int64)
        hamming = normalised_hamming(wanted, guesses[..., 0])
        untouched = nearest_tokens(self._vectors[inputs], self._vectors, 1)[..., 0]
        return {
            "rate": rate,
            "hamming": float(hamming.mean()),
            "half_width": float(1.96 * hamming.std(ddof=1) / len(hamming) ** 0.5) if len(hamming) > 1 else 0.0,
            "hamming_of_five": float(normalised_hamming(wanted, guesses).mean()),
            "hamming_of_own_vectors": float(normalised_hamming(inputs.astype(np.int64), untouched).mean()),
            "distance": _share(found.distances, self._start_distances(inputs)),
        }

    def _best_rate(self, trials: Ids) -> float:
        """The step size that brings the output nearest; the tokens are not looked at."""
        coarse = _COARSE[self._descent]
        distances = self._trial_distances(trials, coarse, 0.0)
        best = coarse[int(np.argmin(distances))]
        fine = (best / _BETWEEN, best * _BETWEEN)
        finer = self._trial_distances(trials, fine, 0.4)
        return float((*coarse, *fine)[int(np.argmin([*distances, *finer]))])

    def _trial_distances(self, trials: Ids, rates: Sequence[float], share: float) -> list[float]:
        found = self._recover(np.tile(trials, (len(rates), 1)), np.repeat(rates, len(trials)).tolist(), share)
        return [float(part.mean()) for part in np.split(found.distances, len(rates))]

    def _recover(self, inputs: Ids, rates: Sequence[float], share: float) -> Recovered:
        iterations = self._settings.iterations
        scaled = self._scale * np.asarray(rates, np.float32) * np.ones(len(inputs), np.float32)

        def report(done: int) -> None:
            self._cells.tell(self.title, share + 0.4 * done / iterations, f"step {done}/{iterations}")

        return recover(
            self._outputs,
            self._outputs(self._table(mx.array(inputs))),
            self._noise(inputs),
            mx.array(scaled),
            iterations=iterations,
            descent=self._descent,
            report=report,
        )

    def _start_distances(self, inputs: Ids) -> Any:
        apart = self._outputs(self._noise(inputs)) - self._outputs(self._table(mx.array(inputs)))
        return np.array(mx.abs(apart).sum(axis=(1, 2)))

    def _noise(self, inputs: Ids) -> mx.array:
        shape = (*inputs.shape, self._vectors.shape[1])
        drawn = np.random.default_rng(self._settings.seed).standard_normal(shape, np.float32)
        return mx.array(self._scale * drawn)


def _in_state(race: Race, name: str, state: str) -> Any:
    if state == "trained":
        return race.load(name)
    model = race.fresh(name)
    if "unit" in state:
        table = model.token_table()
        table.weight = table.weight / mx.std(table.weight)
    return model


def _title(state: str, outputs: str, descent: Descent, name: str) -> str:
    return f"{state}, {outputs} outputs, {descent}, {name}"


def _share(distances: Any, of: Any) -> float:
    return float(np.mean(distances / np.maximum(of, 1e-12)))
