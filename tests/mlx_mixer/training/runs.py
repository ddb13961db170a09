"""A tokenizer and data for training runs that take a second."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_mixer.training.language_run import LanguageRun, ModelSizes
from mlx_mixer.training.loop import LoopSettings
from mlx_mixer.training.tokenizer import train_tokenizer

WORDS = ("package", "file", "list", "sort", "print", "kernel", "module", "network", "server", "music", "game", "text")


def write_data(folder: Path, count: int = 120) -> Path:
    """Pairs about random words, and the tokenizer of their passages in `folder/tokenizer`."""
    rng = random.Random(0)
    records = []
    for number in range(count):
        topic = rng.sample(WORDS, 3)
        passage = f"This {topic[0]} helps with a {topic[1]} and more. Every {topic[0]} can {topic[2]} number {number}."
        records.append({"passage": passage, "query_hard": f"{topic[0]} for a {topic[1]}"})
    folder.mkdir(exist_ok=True)
    (folder / "pairs.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "tokenizer.model").write_bytes(
        train_tokenizer([str(record["passage"]) for record in records], 320)
    )
    return folder


def language_run(data: Path, out: Path, **loop: float) -> LanguageRun:
    """A run of a model with 16 features and one block."""
    settings: dict[str, Any] = {"steps": 30, "warmup_steps": 5, "checkpoint_every": 7, "learning_rate": 3e-3}
    return LanguageRun(
        data=[data / "pairs.jsonl"],
        out=out,
        tokenizer=data / "tokenizer",
        sizes=ModelSizes(hidden_size=16, num_layers=1, context_length=24, intermediate_size=16),
        tokens_per_batch=256,
        loop=LoopSettings(**{**settings, **loop}),
    )


def ignore(_: object) -> None:
    """Told something that does not matter here."""


def logged(folder: Path, name: str) -> list[Any]:
    """A field of every step in a run's log."""
    entries = map(json.loads, (folder / "training_log.jsonl").read_text().splitlines())
    return [entry[name] for entry in entries if "loss" in entry]


def same_course(folder: Path, other: Path, rtol: float = 1e-5, without: Sequence[str] = ()) -> None:
    """Assert that two runs had the same losses at the same steps and ended in the same weights.

    Some weights may be left out: on which no loss depends, so that rounding alone moves them.

    Up to what MKL's products differ by, in the last bits, with the place of their factors in memory.
    """
    assert logged(folder, "step") == logged(other, "step")
    np.testing.assert_allclose(logged(folder, "loss"), logged(other, "loss"), rtol=rtol)
    weights, others = weights_of(folder), weights_of(other)
    assert weights.keys() == others.keys()
    for name in weights.keys() - set(without):
        np.testing.assert_allclose(
            np.array(weights[name]), np.array(others[name]), rtol=100 * rtol, atol=rtol, err_msg=name
        )


def weights_of(folder: Path) -> dict[str, Any]:
    """The arrays of a model folder."""
    return dict(mx.load(str(folder / "model.safetensors")))
