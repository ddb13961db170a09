"""Re-rankers learn, say how they do beside the orders they start from, and serve a search."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from click.testing import CliRunner

from mlx_mixer.checkpoint import load_model, save_model
from mlx_mixer.cli.main import cli
from mlx_mixer.cli.train import train
from mlx_mixer.documents.rerank import load_reranker
from mlx_mixer.errors import MixerError, UsageError
from mlx_mixer.models.retrieval import RetrievalMixer
from mlx_mixer.training.loop import LoopSettings
from mlx_mixer.training.reranker_run import RerankerRun, train_reranker
from tests.tiny import tiny_model_folder


@pytest.fixture(autouse=True)
def _uncompiled() -> Iterator[None]:
    mx.disable_compile()
    yield
    mx.enable_compile()


def ignore(_: object) -> None:
    """Told something that does not matter here."""


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
        **{"candidates": 4, "num_layers": 2, "mixing_size": 8, "intermediate_size": 16, **options},
        loop=LoopSettings(**loop),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_model_folder(tmp_path / "embedder", pooling="token_weighted")
    write_pairs(tmp_path / "pairs.jsonl", 80)
    return tmp_path


@pytest.mark.parametrize("words", [True, False])
def test_a_reranker_learns_and_is_measured_beside_what_it_starts_from(folder: Path, *, words: bool) -> None:
    losses: list[float] = []
    run = reranker_run(folder, folder / "out", words=words, mix_candidates=words)
    summary = train_reranker(run, resume=False, report=lambda step: losses.append(step.loss), narrate=ignore)
    if words:  # vectors of an untrained embedder say little
        assert np.mean(losses[-40:]) < np.mean(losses[:40])
    orders = ["re-ranker", "cosine", "words", "search"] if words else ["re-ranker", "cosine"]
    assert [figure.order for figure in summary.figures] == orders
    # Of eight held-out pairs half choose the weights.
    assert (summary.queries, summary.candidates) == (4, 4)
    own, *others = summary.figures
    for other in others:
        assert other.top1_gain is not None
        assert other.top1_gain.mean == pytest.approx(own.top1.mean - other.top1.mean)
    model = load_model(folder / "out")
    assert isinstance(model, RetrievalMixer)
    assert (model.config.context_length, model.config.takes_scores) == (5, words)
    assert mx.any(model.score.weight != 0)
    # Candidates see each other only where that is asked for.
    assert all(bool(mx.any(layer.token_mixing.weight != 0)) == words for layer in model.layers)
    assert load_reranker(folder / "out").most == 4
    assert not (folder / "out" / "training").exists()
    card = (folder / "out" / "README.md").read_text()
    assert f"{summary.training.best_score:.3f} mean reciprocal rank of the right passage for held-out queries" in card
    assert f"top-1 {100 * own.top1.mean:.1f} %, MRR {own.mrr.mean:.3f}" in card


def test_an_untrained_reranker_changes_no_order(folder: Path) -> None:
    run = reranker_run(folder, folder / "out", loop={"steps": 1, "learning_rate": 1e-12})
    summary = train_reranker(run, resume=False, report=ignore, narrate=ignore)
    own, search = summary.figures[0], summary.figures[-1]
    assert search.order == "search"
    assert (own.top1, own.mrr) == (search.top1, search.mrr)
    assert not summary.is_better


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
    result = json.loads(made.stdout)
    assert [row["order"] for row in result["figures"]] == ["re-ranker", "cosine", "words", "search"]

    notes = tmp_path / "notes"
    notes.mkdir()
    for number, text in enumerate(["bread needs flour", "flour for bread", "bread", "flour and water", "a flour mill"]):
        (notes / f"{number}.txt").write_text(f"{text} in note {number}, with more words around it.\n")
    assert CliRunner().invoke(cli, ["docs", "add", str(notes)], catch_exceptions=False).exit_code == 0

    def paths(*options: str) -> list[str]:
        result = CliRunner().invoke(cli, ["search", "bread flour", "--json", *options], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return [hit["path"] for hit in json.loads(result.stdout)["hits"]]

    plain = paths()
    _answer_the_other_way_round(tmp_path / "out")
    assert paths("--rerank", str(tmp_path / "out")) == plain[::-1]


def _answer_the_other_way_round(folder: Path) -> None:
    model = load_model(folder)
    assert isinstance(model, RetrievalMixer)
    model.interactions.log_scale = mx.array([-30.0])
    model.interactions.cosine_scale = mx.zeros((1,))
    model.score.weight = mx.zeros_like(model.score.weight)
    for layer in model.layers:
        layer.token_mixing.weight = mx.zeros_like(layer.token_mixing.weight)
    # The prior is nothing now, and the blocks see where a candidate stands: later is better.
    size = model.config.context_length
    layer.token_mixing.bias = mx.arange(size).astype(mx.float32) * 10
    layer.channel_mixing.down.weight = mx.zeros_like(layer.channel_mixing.down.weight)
    model.score.weight = mx.ones_like(model.score.weight)
    save_model(folder, model)
