"""Retrieval runs with everything that can be asked for."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mlx_mixer.errors import MixerError, UsageError
from mlx_mixer.training.data import read_pairs
from mlx_mixer.training.distillation import save_teacher
from mlx_mixer.training.hard_negatives import MiningSettings
from mlx_mixer.training.language_run import train_language
from mlx_mixer.training.loop import LoopSettings, StepReport
from mlx_mixer.training.pair_batches import PairSettings
from mlx_mixer.training.retrieval_run import RetrievalRun, train_retrieval
from tests.mlx_mixer.training.runs import language_run, write_data


@pytest.fixture(autouse=True)
def _uncompiled() -> Iterator[None]:
    mx.disable_compile()
    yield
    mx.enable_compile()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    mx.disable_compile()
    folder = write_data(tmp_path_factory.mktemp("retrieval") / "data")
    train_language(language_run(folder, folder / "lm", steps=3), resume=False, report=ignore, narrate=ignore)
    return folder


def ignore(_: object) -> None:
    """Told something that does not matter here."""


def retrieval_run(data: Path, out: Path, **options: Any) -> RetrievalRun:
    loop = {"steps": 12, "learning_rate": 2e-2, "warmup_steps": 2, "checkpoint_every": 5, **options.pop("loop", {})}
    return RetrievalRun(
        pairs=[data / "pairs.jsonl"],
        init=data / "lm",
        out=out,
        drawing=PairSettings(batch_size=16, span_share=0.3),
        loop=LoopSettings(**loop),
        **options,
    )


def losses(run: RetrievalRun, *, resume: bool = False, stop_at: int = 0) -> list[float]:
    found = []

    def report(step: StepReport) -> None:
        found.append(step.loss)
        if step.step == stop_at:
            raise KeyboardInterrupt

    train_retrieval(run, resume=resume, report=report, narrate=ignore)
    return found


@pytest.mark.parametrize("through_blocks", [False, True])
def test_a_run_with_everything_resumes_exactly(data: Path, tmp_path: Path, through_blocks: bool) -> None:
    pairs = read_pairs([data / "pairs.jsonl"])
    rng = np.random.default_rng(0)
    count = sum(len(pair.queries) for pair in pairs)
    save_teacher(
        tmp_path / "teacher.safetensors",
        rng.standard_normal((len(pairs), 4)).astype(np.float32),
        rng.standard_normal((count, 4)).astype(np.float32),
    )
    options: dict[str, Any] = {
        "mining": MiningSettings(count=2, miner="both", pool=8, every=4, among=100),
        "matryoshka": (4, 8),
        "teacher": tmp_path / "teacher.safetensors",
        "teacher_weight": 0.2,
        "through_blocks": through_blocks,
        "tokens_per_chunk": 512,
    }
    whole = losses(retrieval_run(data, tmp_path / "whole", **options))
    cut = retrieval_run(data, tmp_path / "cut", **options)
    with pytest.raises(KeyboardInterrupt):
        losses(cut, stop_at=6)
    np.testing.assert_allclose(losses(cut, resume=True), whole[6:], rtol=1e-4)
    assert not (tmp_path / "cut" / "training").exists()


@pytest.mark.parametrize("tokens_per_chunk", [1 << 20, 512])
def test_compiled_steps_through_the_blocks_take_the_same_course(
    data: Path, tmp_path: Path, tokens_per_chunk: int
) -> None:
    options: dict[str, Any] = {"through_blocks": True, "tokens_per_chunk": tokens_per_chunk, "loop": {"steps": 3}}
    plain = losses(retrieval_run(data, tmp_path / "plain", **options))
    mx.enable_compile()
    compiled = losses(retrieval_run(data, tmp_path / "compiled", **options))
    np.testing.assert_allclose(compiled, plain, rtol=1e-4)


def test_one_positive_learns(data: Path, tmp_path: Path) -> None:
    run = retrieval_run(data, tmp_path / "out", loss="one-positive", rows=8, temperature=0.02)
    found = losses(run)
    assert np.mean(found[-4:]) < found[0]


def test_a_teacher_who_knows_better_is_followed(data: Path, tmp_path: Path) -> None:
    """A teacher that finds every pair, and labels that do not count: the student learns to find all the same."""
    pairs = read_pairs([data / "pairs.jsonl"])
    rng = np.random.default_rng(0)
    passages = rng.standard_normal((len(pairs), 32)).astype(np.float32)
    queries = np.repeat(passages, [len(pair.queries) for pair in pairs], axis=0)
    save_teacher(tmp_path / "t.safetensors", passages, queries)
    run = retrieval_run(
        data,
        tmp_path / "out",
        teacher=tmp_path / "t.safetensors",
        teacher_weight=1.0,
        valid=[data / "pairs.jsonl"],
        loop={"steps": 40, "validate_every": 1, "warmup_steps": 1, "patience": 0},
    )
    run = replace(run, drawing=PairSettings(batch_size=32, span_share=0.0))
    scores: list[float] = []
    summary = train_retrieval(run, resume=False, report=lambda step: scores.append(step.loss), narrate=ignore)
    assert scores[-1] < scores[0]
    assert summary.best_score is not None
    assert summary.best_score > 0.1  # one in 120 by chance


def test_settings_that_do_not_fit_end_before_anything_is_made(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="vectors have 16 values"):
        losses(retrieval_run(data, tmp_path / "out", matryoshka=(16,)))
    with pytest.raises(UsageError, match="teacher_weight is 2"):
        retrieval_run(data, tmp_path / "out", teacher=data / "pairs.jsonl", teacher_weight=2)
    with pytest.raises(UsageError, match="give --valid PAIRS"):
        retrieval_run(data, tmp_path / "out", loop={"average": "ema"})
    with pytest.raises(UsageError, match="loss is 'triplet'"):
        retrieval_run(data, tmp_path / "out", loss="triplet")
    with pytest.raises(MixerError, match=r"give \.safetensors or \.npz"):
        losses(retrieval_run(data, tmp_path / "out", teacher=data / "pairs.jsonl"))
    assert not (tmp_path / "out").exists()


def test_valid_pairs_need_no_hard_queries(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "valid.jsonl"
    file.write_text(
        '{"text": "how to print a file", "query": "print"}\n{"text": "a kernel module", "query": "kernel"}\n'
    )
    run = retrieval_run(data, tmp_path / "out", valid=[file])
    assert train_retrieval(run, resume=False, report=ignore, narrate=ignore).best_score is not None
    file.write_text('{"text": "how to print a file", "query": "print"}\n')
    with pytest.raises(MixerError, match="valid files hold one pair"):
        losses(retrieval_run(data, tmp_path / "other", valid=[file]))
