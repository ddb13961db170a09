"""The benchmark of conversions measures real ones."""

from pathlib import Path

import numpy as np
import pytest

from convert import benchmark
from convert.hints import Hints
from convert.plan import plan_conversion
from convert.sources.containers import open_checkpoint


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"VOCAB": 50, "DIMS": 32, "LENGTH": 16, "INNER": 64, "SHARD_BYTES": 10_000, "MEMORY_ROUNDS": 1}
    for name, size in sizes.items():
        monkeypatch.setattr(benchmark, name, size)


def test_a_random_checkpoint_is_a_model_in_several_files(tmp_path: Path) -> None:
    folder = benchmark.write_random_checkpoint(tmp_path / "source", 2, shard_bytes=10_000)
    assert len(list(folder.glob("*.safetensors"))) > 2
    with open_checkpoint(folder) as checkpoint:
        config = plan_conversion(checkpoint, folder, Hints()).config
        table = checkpoint.read("wte.weight")
    assert (config.hidden_size, config.num_layers, config.context_length) == (32, 2, 16)
    assert config.num_parameters == sum(info.size for info in checkpoint.tensors.values())
    assert 0.9 < np.std(table) < 1.1


def test_every_figure_comes_from_a_copy_and_a_conversion_of_the_same_files() -> None:
    figures = benchmark.conversion_figures(layers=1, rounds=2)
    assert list(figures) == ["copy", "convert", "convert vs copy", "convert peak vs largest file"]
    assert all(0 < figure.min <= figure.value <= figure.max for figure in figures.values())
    assert [figure.goal for figure in figures.values()] == [None, None, ">= 0.5", "<= 1.3"]
