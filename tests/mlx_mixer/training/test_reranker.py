"""Re-rankers: what they are shown, that they learn, and that a search takes them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from click.testing import CliRunner

from mlx_mixer.checkpoint import load_model
from mlx_mixer.cli.main import cli
from mlx_mixer.cli.train import train
from mlx_mixer.documents.rerank import load_reranker
from mlx_mixer.errors import MixerError, UsageError
from mlx_mixer.models.retrieval import RetrievalMixer
from mlx_mixer.training.data import Pair
from mlx_mixer.training.frozen_pairs import FrozenPairs, draw_candidates, rows_of
from mlx_mixer.training.hard_negatives import SameText
from mlx_mixer.training.loop import LoopSettings
from mlx_mixer.training.reranker_run import RerankerRun, list_batches, train_reranker
from tests.tiny import tiny_model_folder


@pytest.fixture(autouse=True)
def _uncompiled() -> Iterator[None]:
    mx.disable_compile()
    yield
    mx.enable_compile()


def ignore(_: object) -> None:
    """Told something that does not matter here."""


def frozen_pairs(count: int = 40, dims: int = 6) -> FrozenPairs:
    rng = np.random.default_rng(0)
    vectors = [rng.standard_normal((size, dims)).astype(np.float32) for size in (count, 2 * count)]
    passages, queries = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in vectors)
    ways = np.full(count, 2)
    same = SameText([Pair(f"passage {number // 2}", (f"query {number}",)) for number in range(count)])
    return FrozenPairs(passages, queries, np.arange(0, 2 * count, 2), ways, same)


def test_lists_hold_the_right_passage_once_and_none_that_says_the_same() -> None:
    pairs = frozen_pairs()
    chosen = np.arange(40)
    candidates, places = draw_candidates(pairs, chosen, 8, 0.5, np.random.default_rng(0))
    assert candidates.shape == (40, 7)
    assert len(set(places.tolist())) == 7
    for pair, row, place in zip(chosen, candidates, places, strict=True):
        assert row[place] == pair
        assert len(set(row.tolist())) == 7
        assert sum(pairs.same(int(pair), int(other)) for other in row) == 1


def test_hard_candidates_are_the_nearest() -> None:
    pairs = frozen_pairs()
    candidates, _ = draw_candidates(pairs, np.arange(40), 8, 1.0, np.random.default_rng(0))
    cosines = pairs.queries[::2] @ pairs.passages.T
    for pair, row in enumerate(candidates):
        order = [other for other in np.argsort(-cosines[pair]) if not pairs.same(pair, int(other))]
        assert set(row.tolist()) - {pair} <= set(order[:50])
    few = replace(pairs, passages=pairs.passages, _near={0: np.array([7, 9])})
    drawn, _ = draw_candidates(few, np.array([0]), 4, 1.0, np.random.default_rng(0))
    assert set(drawn[0].tolist()) == {0, 7, 9}


def test_a_list_starts_with_its_query() -> None:
    pairs = frozen_pairs()
    rows = rows_of(pairs, np.array([5]), np.array([[3, 1]]))
    np.testing.assert_array_equal(rows[0], np.stack([pairs.queries[5], pairs.passages[3], pairs.passages[1]]))


def test_batches_follow_from_the_step_and_have_few_shapes(tmp_path: Path) -> None:
    run = RerankerRun(pairs=[], out=tmp_path, batch_size=4, loop=LoopSettings(steps=1, seed=3))
    batch_at = list_batches(frozen_pairs(), 17, run)
    shapes = {batch_at(step)[0][0].shape for step in range(40)}
    assert {shape[1] for shape in shapes} == {4, 8, 12, 17}
    for one, other in zip(batch_at(7)[0], list_batches(frozen_pairs(), 17, run)(7)[0], strict=True):
        assert mx.array_equal(one, other)


def write_pairs(file: Path, count: int) -> Path:
    """Pairs whose passage holds the words of the query, in letters that a byte-level embedder tells apart."""
    rng = np.random.default_rng(0)
    lines = []
    for _ in range(count):
        words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 4)) for _ in range(5)]
        lines.append(json.dumps({"passage": " ".join(words), "query": " ".join(words[:2])}))
    file.write_text("\n".join(lines))
    return file


def reranker_run(folder: Path, out: Path, **options: Any) -> RerankerRun:
    loop = {"steps": 120, "warmup_steps": 5, "learning_rate": 5e-3, "validate_every": 40, **options.pop("loop", {})}
    return RerankerRun(
        pairs=[folder / "pairs.jsonl"],
        out=out,
        embedder=folder / "embedder",
        **{"candidates": 4, "num_layers": 2, "intermediate_size": 32, "hard_share": 0.0, **options},
        loop=LoopSettings(**loop),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_model_folder(tmp_path / "embedder", pooling="token_weighted")
    write_pairs(tmp_path / "pairs.jsonl", 80)
    return tmp_path


def test_a_reranker_learns_and_is_measured_beside_the_cosine(folder: Path) -> None:
    losses: list[float] = []
    run = reranker_run(folder, folder / "out")
    summary = train_reranker(run, resume=False, report=lambda step: losses.append(step.loss), narrate=ignore)
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    assert [(row.among, row.candidates, row.queries) for row in summary.top1] == [("random", 4, 8), ("nearest", 4, 8)]
    assert all(0 <= row.reranker <= 1 and 0 <= row.cosine <= 1 for row in summary.top1)
    model = load_model(folder / "out")
    assert isinstance(model, RetrievalMixer)
    assert model.config.context_length == 5
    assert load_reranker(folder / "out").most == 4
    assert not (folder / "out" / "training").exists()
    card = (folder / "out" / "README.md").read_text()
    assert f"re-ranker {100 * summary.top1[0].reranker:.1f} %, cosine" in card


def test_an_interrupted_run_goes_on_without_embedding_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def losses(out: Path, *, resume: bool = False, stop_at: int = 0) -> list[float]:
        found: list[float] = []

        def report(step: Any) -> None:
            found.append(step.loss)
            if step.step == stop_at:
                raise KeyboardInterrupt

        run = reranker_run(folder, out, loop={"steps": 8, "checkpoint_every": 3})
        train_reranker(run, resume=resume, report=report, narrate=ignore)
        return found

    whole = losses(folder / "whole")
    with pytest.raises(KeyboardInterrupt):
        losses(folder / "cut", stop_at=4)
    monkeypatch.setattr("mlx_mixer.embedding.Embedder.embed", None)
    np.testing.assert_allclose(losses(folder / "cut", resume=True), whole[4:], rtol=1e-4)


def test_too_little_to_learn_from_is_one_clear_line(folder: Path) -> None:
    (folder / "pairs.jsonl").write_text('{"text": "a", "query": "b"}\n' * 3)
    with pytest.raises(MixerError, match="too few for a re-ranker"):
        train_reranker(reranker_run(folder, folder / "out"), resume=False, report=ignore, narrate=ignore)
    with pytest.raises(UsageError, match="candidates is 1"):
        reranker_run(folder, folder / "out", candidates=1)
    assert not (folder / "out").exists()


def test_a_search_takes_what_the_command_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From pairs to `search --rerank`, with the bundled embedder."""
    monkeypatch.setenv("MLX_MIXER_HOME", str(tmp_path / "home"))
    write_pairs(tmp_path / "pairs.jsonl", 30)
    arguments = ["reranker", tmp_path / "pairs.jsonl", "-o", tmp_path / "out", "--candidates", "5", "--layers", "1"]
    arguments += ["--intermediate-size", "16", "--steps", "3", "--warmup-steps", "1", "--json"]
    made = CliRunner().invoke(train, [str(argument) for argument in arguments], catch_exceptions=False)
    assert made.exit_code == 0, made.output
    assert [row["among"] for row in json.loads(made.stdout)["top1"]] == ["random", "nearest"]

    notes = tmp_path / "notes"
    notes.mkdir()
    for number, text in enumerate(["bread needs flour", "flour for bread", "bread", "flour and water", "a flour mill"]):
        (notes / f"{number}.txt").write_text(f"{text} in note {number}, with more words around it.\n")
    assert CliRunner().invoke(cli, ["docs", "add", str(notes)], catch_exceptions=False).exit_code == 0

    def paths(*options: str) -> list[str]:
        result = CliRunner().invoke(cli, ["search", "bread flour", "--json", *options], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return [hit["path"] for hit in json.loads(result.stdout)["hits"]]

    plain, reranked = paths(), paths("--rerank", str(tmp_path / "out"))
    assert sorted(plain) == sorted(reranked)
    assert plain != reranked
