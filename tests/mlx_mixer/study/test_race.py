"""Equal compute, learning rates that suit, and what a race keeps."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx import nn

from mlx_mixer.study.cells import Cells
from mlx_mixer.study.language import language_race
from mlx_mixer.study.race import RATES, Race, Task, best_rate, equal_steps, next_rate
from mlx_mixer.study.settings import NAMES, EqualBy, StudySettings
from mlx_mixer.study.texts import TokenTexts

SETTINGS = StudySettings(
    hidden_size=16, num_layers=1, num_heads=2, vocab_size=64, tokens_per_batch=64, seconds=0.06, sweep_share=0.5
)


def random_texts() -> TokenTexts:
    rng = np.random.default_rng(0)
    parts = [np.minimum(rng.geometric(0.2, 800), 63).astype(np.int32) for _ in range(3)]
    return TokenTexts(*parts, bytes_per_token=2.0, encode=lambda _: [])


def race_in(folder: Path, narrate: Callable[[str], None] = lambda _: None, **changes: Any) -> tuple[Race, Cells]:
    settings = replace(SETTINGS, **changes)
    cells = Cells(folder, {"seed": settings.seed}, Race.plan("n", NAMES, settings), narrate)
    return language_race("n", random_texts(), 16, settings, cells), cells


@pytest.mark.parametrize("equal_by", ["time", "flops", "tokens"])
def test_what_is_said_to_be_equal_is_equal(equal_by: EqualBy) -> None:
    seconds, flops = {"mixer": 0.011, "llama": 0.029}, {"mixer": 1.0e9, "llama": 1.7e9}
    steps = equal_steps(replace(SETTINGS, seconds=30.0, equal_by=equal_by), seconds, flops)
    used = {
        "time": {name: steps[name] * seconds[name] for name in steps},
        "flops": {name: steps[name] * flops[name] for name in steps},
        "tokens": dict(steps),
    }
    assert used[equal_by]["llama"] == pytest.approx(used[equal_by]["mixer"], rel=2e-3)
    assert used["time"]["mixer"] == pytest.approx(30, rel=1e-3)
    others = [name for name in used if name != equal_by]
    assert all(used[name]["llama"] != pytest.approx(used[name]["mixer"], rel=0.05) for name in others)


def test_results_say_what_was_really_used(tmp_path: Path) -> None:
    """The log of the loop and the shapes of the batches, against what the race reports."""
    race, _ = race_in(tmp_path / "out", equal_by="flops", seconds=0.2)
    results = race.run()
    for name, result in results.items():
        per_step = 3 * (64 // 16) * race.fresh(name).flops(16)
        assert result["tokens"] == 64 * result["steps"]
        assert result["flops"] == pytest.approx(per_step * result["steps"])
        assert result["curve"][-1][0] == result["tokens"]
    mixer, llama = results["mixer"], results["llama"]
    assert abs(mixer["flops"] - llama["flops"]) <= llama["flops"] / llama["steps"] / 2


def test_a_race_that_goes_on_says_the_same_and_trains_nothing_again(tmp_path: Path) -> None:
    told: list[str] = []
    race, _ = race_in(tmp_path / "out", told.append)
    first = race.run()
    assert [line.split(":")[0] for line in told if line.endswith(" left")] == [
        "[1/5] n steps",
        *("[2/5] n mixer sweep", "[3/5] n mixer training", "[4/5] n llama sweep", "[5/5] n llama training"),
    ]
    told.clear()
    again, _ = race_in(tmp_path / "out", told.append)
    assert again.run() == first
    assert told == [f"going on: 5 of 5 results are in {tmp_path / 'out' / 'results.json'}"]
    weights = [race.load("llama").head() for race in (race, again)]
    assert mx.array_equal(*weights)
    assert not mx.array_equal(weights[0], race.fresh("llama").head())


def test_both_contenders_see_the_same_batches_and_learn(tmp_path: Path) -> None:
    race, _ = race_in(tmp_path / "out", seconds=0.3)
    results = race.run()
    for name, result in results.items():
        untrained = race._task.report(race.fresh(name))
        assert result["loss"] < untrained
    batches = [race._task.batch_at(step)[0][0] for step in (3, 3, 4)]
    assert mx.array_equal(batches[0], batches[1])
    assert not mx.array_equal(batches[0], batches[2])


@pytest.mark.parametrize("best", [2e-4, 3e-4, 1e-3, 2.3e-3, 3e-2, 1e-5, 10.0])
def test_the_search_for_a_rate_walks_on_until_the_best_is_not_at_an_end(best: float) -> None:
    trials: dict[float, float] = {}
    while (rate := next_rate(trials)) is not None:
        assert rate not in trials
        trials[rate] = abs(np.log(rate / best))
    assert len(trials) <= 7
    chosen = best_rate([[rate, loss] for rate, loss in trials.items()])
    assert chosen == min(RATES, key=lambda rate: abs(np.log(rate / best)))
    assert min(trials) < chosen or chosen == RATES[0]
    assert chosen < max(trials) or chosen == RATES[-1]


class Exploding(nn.Module):
    """A contender that survives small steps only."""

    size = 1

    def __init__(self) -> None:
        super().__init__()
        self.value = mx.zeros((1,))


def test_a_rate_that_makes_the_loss_no_number_loses_and_ends_nothing(tmp_path: Path) -> None:
    def loss(model: Any, limit: mx.array) -> mx.array:
        return mx.where(model.value < limit, -model.value, mx.array(float("nan"))).sum()

    task = Task(
        name="n",
        loss=loss,
        batch_at=lambda _: ((mx.array([0.02]),), 1),
        choose=lambda model: -float(model.value),
        report=lambda model: -float(model.value),
        flops=lambda _: 1.0,
    )
    settings = replace(SETTINGS, seconds=1e-6)
    cells = Cells(tmp_path / "out", {}, Race.plan("n", ("a",), settings), lambda _: None)
    result = Race(task, {"a": Exploding}, settings, cells).run()["a"]
    losses = dict(result["trials"])
    assert losses[1e-2] == float("inf")
    assert np.isfinite(losses[result["rate"]])
    assert result["loss"] < 0
