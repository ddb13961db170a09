"""Whole runs: they learn, they survive a kill, they end in a model folder or in one clear line."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mlx_mixer.checkpoint import load_config, load_language_model, load_model
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.embedding import load_embedder
from mlx_mixer.errors import MixerError, UnsupportedModelError, UsageError
from mlx_mixer.models.language import next_token_loss
from mlx_mixer.training import retrieval_run
from mlx_mixer.training.data import Pair, read_pairs, read_texts
from mlx_mixer.training.evaluate import top1_among, vector_scorer
from mlx_mixer.training.language_run import LanguageRun, train_language
from mlx_mixer.training.loop import LoopSettings, StepReport, TrainingSummary
from mlx_mixer.training.pair_batches import PairSettings
from mlx_mixer.training.retrieval_run import RetrievalRun, _encoder, _sample, _validation, train_retrieval
from mlx_mixer.training.tokenizer import load_encoder
from mlx_mixer.training.windows import cut_windows
from mlx_mixer.word_tokenizer import commonest_stems
from tests.mlx_mixer.training.runs import ignore, language_run, logged, weights_of, write_data


@pytest.fixture(autouse=True)
def _uncompiled() -> Iterator[None]:
    """Compiling its kernels takes longer than a run; the test below that says so compiles."""
    mx.disable_compile()
    yield
    mx.enable_compile()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("training") / "data")


def run_language(run: LanguageRun, *, resume: bool = False) -> tuple[TrainingSummary, list[StepReport]]:
    reports: list[StepReport] = []
    summary = train_language(run, resume=resume, report=reports.append, narrate=ignore)
    return summary, reports


def test_a_language_run_learns_and_leaves_a_model(data: Path, tmp_path: Path) -> None:
    summary, reports = run_language(language_run(data, tmp_path / "out", steps=60))
    assert [report.step for report in reports] == list(range(1, 61))
    assert np.mean(logged(tmp_path / "out", "loss")[-5:]) < reports[0].loss - 1
    assert summary.steps == 60
    assert load_model(tmp_path / "out")(mx.array([[5, 6]])).shape == (1, 2, 320)
    assert (tmp_path / "out" / "tokenizer.model").exists()
    assert not (tmp_path / "out" / "training").exists()


def test_compiled_steps_take_the_same_course(data: Path, tmp_path: Path) -> None:
    _, plain = run_language(language_run(data, tmp_path / "plain", steps=3))
    mx.enable_compile()
    _, compiled = run_language(language_run(data, tmp_path / "compiled", steps=3))
    np.testing.assert_allclose([step.loss for step in compiled], [step.loss for step in plain], rtol=1e-4)


def test_folders_and_settings_must_fit(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="holds no unfinished training run"):
        run_language(language_run(data, out), resume=True)
    run_language(language_run(data, out, steps=2))
    with pytest.raises(UsageError, match="already exists; choose another folder"):
        run_language(language_run(data, out))
    with pytest.raises(UsageError, match="not both"):
        LanguageRun(data=[data], out=out, loop=LoopSettings(steps=1))


def test_resuming_with_other_settings_is_refused(data: Path, tmp_path: Path) -> None:
    def interrupt(report: StepReport) -> None:
        if report.step == 3:
            raise KeyboardInterrupt

    run = language_run(data, tmp_path / "out", steps=6)
    with pytest.raises(KeyboardInterrupt):
        train_language(run, resume=False, report=interrupt, narrate=ignore)
    with pytest.raises(UsageError, match="already exists; add --resume"):
        run_language(run)
    with pytest.raises(UsageError, match="was started with steps = 6, now it is 7"):
        run_language(language_run(data, tmp_path / "out", steps=7), resume=True)
    _, reports = run_language(run, resume=True)
    assert [report.step for report in reports] == [4, 5, 6]


def test_the_best_weights_are_kept(data: Path, tmp_path: Path) -> None:
    run_language(language_run(data, tmp_path / "lm", steps=1))
    run = RetrievalRun(
        pairs=[data / "pairs.jsonl"],
        valid=[data / "pairs.jsonl"],
        init=tmp_path / "lm",
        out=tmp_path / "out",
        drawing=PairSettings(batch_size=32),
        # So large a rate ruins what the first validation has seen.
        loop=LoopSettings(steps=8, learning_rate=50.0, warmup_steps=6, validate_every=1, patience=3),
    )
    summary = train_retrieval(run, resume=False, report=ignore, narrate=ignore)
    found = load_model(tmp_path / "out")
    assert summary.best_score is not None
    assert summary.stopped_early
    assert _validation(run, _encoder(run, found, None), found)() == pytest.approx(summary.best_score)


@pytest.mark.parametrize("through_blocks", [False, True])
def test_a_retrieval_run_learns_and_keeps_writing(data: Path, tmp_path: Path, through_blocks: bool) -> None:
    run_language(language_run(data, tmp_path / "lm", steps=10))
    run = RetrievalRun(
        pairs=[data / "pairs.jsonl"],
        valid=[data / "pairs.jsonl"],
        init=tmp_path / "lm",
        out=tmp_path / "out",
        through_blocks=through_blocks,
        drawing=PairSettings(batch_size=32, span_share=0.3),
        loop=LoopSettings(steps=40, learning_rate=2e-2, warmup_steps=5, validate_every=10),
        half=True,
    )
    reports: list[StepReport] = []
    summary = train_retrieval(run, resume=False, report=reports.append, narrate=ignore)
    assert np.mean([report.loss for report in reports[-5:]]) < reports[0].loss
    log = (tmp_path / "out" / "training_log.jsonl").read_text().splitlines()
    scores = [json.loads(line).get("score", 0) for line in log]
    assert summary.best_score == max(scores) > 0
    before, after = weights_of(tmp_path / "lm"), weights_of(tmp_path / "out")
    assert np.array_equal(np.array(before["lm_head.weight"]).astype(np.float16), np.array(after["lm_head.weight"]))
    assert after["embed_tokens.weight"].dtype == mx.float16
    assert load_config(tmp_path / "out").fold_case
    gates = np.array(after["pooling.layer_gate"])
    assert (gates[1] != 0) == through_blocks


def test_healing_keeps_what_finding_depends_on(data: Path, tmp_path: Path) -> None:
    run_language(language_run(data, tmp_path / "lm", steps=3))
    fresh = language_run(data, tmp_path / "out", steps=5)
    healing = LanguageRun(data=fresh.data, out=fresh.out, init=tmp_path / "lm", keep_embeddings=True, loop=fresh.loop)
    run_language(healing)
    before, after = weights_of(tmp_path / "lm"), weights_of(tmp_path / "out")
    kept = {name for name in before if np.array_equal(np.array(before[name]), np.array(after[name]))}
    assert kept == {"embed_tokens.weight", "pooling.token_weight", "pooling.layer_gate"}


def static_run(data: Path, tmp_path: Path, **changes: Any) -> RetrievalRun:
    run = RetrievalRun(
        pairs=[data / "pairs.jsonl"],
        valid=[data / "pairs.jsonl"],
        init=tmp_path / "lm",
        out=tmp_path / "out",
        embedding_size=24,
        temperature=0.2,
        drawing=PairSettings(batch_size=8),
        loop=LoopSettings(steps=20, learning_rate=2e-2, warmup_steps=2, validate_every=5),
    )
    return replace(run, **changes)


def test_vectors_of_their_own_learn_to_find_and_leave_writing_alone(data: Path, tmp_path: Path) -> None:
    run_language(language_run(data, tmp_path / "lm", steps=1))
    reports: list[StepReport] = []
    summary = train_retrieval(static_run(data, tmp_path), resume=False, report=reports.append, narrate=ignore)
    losses = [report.loss for report in reports]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert summary.best_score
    before, after = weights_of(tmp_path / "lm"), weights_of(tmp_path / "out")
    writing = {name for name in before if not name.startswith("pooling.")}
    assert all(np.array_equal(np.array(before[name]), np.array(after[name])) for name in writing)
    config = load_config(tmp_path / "out")
    assert (config.pooling, config.embedding_size) == ("static", 24)


def with_words(data: Path, tmp_path: Path, **changes: Any) -> RetrievalRun:
    return static_run(data, tmp_path, word_embedding_size=16, words=40, word_buckets=16, **changes)


def test_vectors_of_words_learn_to_find_and_leave_those_of_tokens_alone(data: Path, tmp_path: Path) -> None:
    run_language(language_run(data, tmp_path / "lm", steps=1))
    train_retrieval(static_run(data, tmp_path), resume=False, report=ignore, narrate=ignore)
    run = with_words(data, tmp_path, init=tmp_path / "out", out=tmp_path / "words", embedding_size=None)
    reports: list[StepReport] = []
    summary = train_retrieval(run, resume=False, report=reports.append, narrate=ignore)
    losses = [report.loss for report in reports]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    before, after = weights_of(tmp_path / "out"), weights_of(tmp_path / "words")
    assert set(after) - set(before) == {"word_pooling.table.weight", "word_pooling.token_weight"}
    assert all(np.array_equal(np.array(before[name]), np.array(after[name])) for name in before)
    config = load_config(tmp_path / "words")
    assert isinstance(config, LanguageMixerConfig)
    assert (config.embedding_parts, config.word_vocab_size) == ((24, 16), 56)
    pairs = read_pairs(run.pairs)
    words = (tmp_path / "words" / "words.txt").read_text().splitlines()
    assert words == commonest_stems((pair.passage for pair in pairs), 40)
    assert summary.best_score == pytest.approx(found_by_the_embedder(tmp_path / "words", data, pairs))


def found_by_the_embedder(folder: Path, data: Path, pairs: Sequence[Pair]) -> float:
    """What the product's own way to the vectors finds, which is to be what the run's own found."""
    import_module("convert.words.tokenizers").install_tokenizer(data / "tokenizer" / "tokenizer.model", folder, 320)
    embedder = load_embedder(folder)
    queries = embedder.embed([pair.queries[0] for pair in pairs])
    scorer = vector_scorer(queries, embedder.embed([pair.passage for pair in pairs]))
    return top1_among(len(pairs), np.ones(len(pairs), bool), scorer, queries=1000, seed=0).accuracy


def test_both_parts_are_learned_where_both_are_fresh_or_given(data: Path, tmp_path: Path) -> None:
    run_language(language_run(data, tmp_path / "lm", steps=1))
    run = with_words(data, tmp_path)
    train_retrieval(run, resume=False, report=ignore, narrate=ignore)
    further = replace(
        run, init=tmp_path / "out", out=tmp_path / "further", embedding_size=None, word_embedding_size=None, valid=()
    )
    train_retrieval(further, resume=False, report=ignore, narrate=ignore)
    before, after = weights_of(tmp_path / "out"), weights_of(tmp_path / "further")
    changed = {name for name in before if not np.array_equal(np.array(before[name]), np.array(after[name]))}
    assert {name.split(".")[0] for name in changed} == {"pooling", "word_pooling"}
    fresh = language_run(data, tmp_path / "again", steps=1)
    run_language(LanguageRun(data=fresh.data, out=fresh.out, init=tmp_path / "further", loop=fresh.loop))
    again = weights_of(tmp_path / "again")
    assert all(np.array_equal(np.array(after[name]), np.array(again[name])) for name in changed)
    for folder in ("further", "again"):
        assert (tmp_path / folder / "words.txt").read_bytes() == (tmp_path / "out" / "words.txt").read_bytes()


def test_vectors_of_words_stand_beside_vectors_for_search(data: Path, tmp_path: Path) -> None:
    run_language(language_run(data, tmp_path / "lm", steps=1))
    with pytest.raises(UnsupportedModelError, match="give it some with --embedding-size"):
        train_retrieval(with_words(data, tmp_path, embedding_size=None), resume=False, report=ignore, narrate=ignore)
    with pytest.raises(UsageError, match="word_buckets is 0"):
        static_run(data, tmp_path, word_buckets=0)


def test_static_vectors_start_from_a_sample_of_many_passages(monkeypatch: pytest.MonkeyPatch) -> None:
    passages = [np.array([number]) for number in range(50)]
    assert _sample(passages, 1) is passages
    monkeypatch.setattr(retrieval_run, "_COOCCURRENCE_TEXTS", 20)
    chosen = [int(passage[0]) for passage in _sample(passages, 1)]
    assert len(set(chosen)) == 20
    assert chosen == [int(passage[0]) for passage in _sample(passages, 1)]
    assert chosen != [int(passage[0]) for passage in _sample(passages, 2)]


def test_learning_to_write_leaves_static_vectors_alone(data: Path, tmp_path: Path) -> None:
    run_language(language_run(data, tmp_path / "lm", steps=1))
    train_retrieval(static_run(data, tmp_path), resume=False, report=ignore, narrate=ignore)
    fresh = language_run(data, tmp_path / "again", steps=3)
    run_language(LanguageRun(data=fresh.data, out=fresh.out, init=tmp_path / "out", loop=fresh.loop))
    before, after = weights_of(tmp_path / "out"), weights_of(tmp_path / "again")
    changed = {name for name in before if not np.array_equal(np.array(before[name]), np.array(after[name]))}
    assert "embed_tokens.weight" in changed
    assert not {name for name in changed if name.startswith("pooling.")}


def test_static_vectors_do_not_go_through_the_blocks(data: Path, tmp_path: Path) -> None:
    run_language(language_run(data, tmp_path / "lm", steps=1))
    with pytest.raises(UsageError, match="through-blocks"):
        train_retrieval(static_run(data, tmp_path, through_blocks=True), resume=False, report=ignore, narrate=ignore)


def test_only_token_weighted_models_learn_to_find(data: Path, tmp_path: Path) -> None:
    run_language(language_run(data, tmp_path / "lm", steps=1))
    config = json.loads((tmp_path / "lm" / "config.json").read_text())
    (tmp_path / "lm" / "config.json").write_text(json.dumps({**config, "pooling": "mean"}))
    weights = {name: array for name, array in weights_of(tmp_path / "lm").items() if not name.startswith("pooling")}
    mx.save_safetensors(str(tmp_path / "lm" / "model.safetensors"), weights)
    run = RetrievalRun(
        pairs=[data / "pairs.jsonl"], init=tmp_path / "lm", out=tmp_path / "out", loop=LoopSettings(steps=1)
    )
    with pytest.raises(UnsupportedModelError, match="pools by 'mean'"):
        train_retrieval(run, resume=False, report=ignore, narrate=ignore)


def test_one_pair_is_not_enough(data: Path, tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text('{"passage": "a text", "query": "a question"}\n')
    run = RetrievalRun(pairs=[tmp_path / "one.jsonl"], init=data, out=tmp_path / "out", loop=LoopSettings(steps=1))
    with pytest.raises(MixerError, match="at least one other"):
        train_retrieval(run, resume=False, report=ignore, narrate=ignore)


def test_held_out_texts_decide_which_weights_are_kept(data: Path, tmp_path: Path) -> None:
    """The rate rises until it ruins what was learned; what is written is the best, and not the last."""
    run = language_run(
        data, tmp_path / "out", steps=40, learning_rate=2.0, warmup_steps=60, validate_every=1, patience=3
    )
    run = replace(run, valid=[data / "pairs.jsonl"])
    summary, reports = run_language(run)
    assert summary.stopped_early
    assert summary.steps == reports[-1].step < 40
    entries = map(json.loads, (tmp_path / "out" / "training_log.jsonl").read_text().splitlines())
    scores = [entry["score"] for entry in entries if "score" in entry]
    assert summary.best_score == max(scores) == scores[-4]
    model = load_language_model(tmp_path / "out")
    windows = cut_windows(load_encoder(data / "tokenizer")(texts := read_texts(run.data)), 24, 2)
    losses = [
        next_token_loss(model, mx.array(window[None])).item() * (len(window) - 1) / np.log(2) for window in windows.ids
    ]
    assert summary.best_score == pytest.approx(-sum(losses) / sum(len(text.encode()) for text in texts), rel=1e-4)


@pytest.mark.parametrize("content", ["", " \n\t \n"])
def test_an_empty_corpus_ends_in_one_line_and_leaves_nothing(data: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "empty.txt").write_text(content)
    run = replace(language_run(data, tmp_path / "out"), data=[tmp_path / "corpus"])
    with pytest.raises(MixerError, match="no text found in"):
        run_language(run)
    assert not (tmp_path / "out").exists()


def test_one_document_is_enough_to_learn_by_heart(data: Path, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("This package helps with a list and more. " * 9)
    run = replace(language_run(data, tmp_path / "out", steps=40, learning_rate=1e-2), data=[tmp_path / "one.txt"])
    told: list[str] = []
    train_language(run, resume=False, report=ignore, narrate=told.append)
    losses = logged(tmp_path / "out", "loss")
    assert losses[-1] < losses[0] - 2
    assert any("too few for token vectors" in line for line in told)


def test_a_document_of_one_token_has_nothing_to_predict_but_its_end(data: Path, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("file")
    run = replace(language_run(data, tmp_path / "out", steps=2), data=[tmp_path / "one.txt"])
    summary, _ = run_language(run)
    assert summary.steps == 2
