"""Retrieval runs of models whose vectors go through blocks of their own."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mlx_mixer.checkpoint import load_config, load_language_model
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.embedding import embeds_words_alone, load_embedder
from mlx_mixer.errors import UnsupportedModelError, UsageError
from mlx_mixer.layers.pooling import ContextualPooling, StaticPooling
from mlx_mixer.training.data import read_pairs
from mlx_mixer.training.distillation import save_teacher
from mlx_mixer.training.evaluate import top1_among, vector_scorer
from mlx_mixer.training.hard_negatives import MiningSettings
from mlx_mixer.training.language_run import LanguageRun, train_language
from mlx_mixer.training.loop import LoopSettings, StepReport
from mlx_mixer.training.optimizer import RatedAdamW
from mlx_mixer.training.pair_batches import PairSettings
from mlx_mixer.training.retrieval_run import RetrievalRun, train_retrieval
from mlx_mixer.training.tuning import Tuning
from mlx_mixer.training.two_views import view_bounds
from mlx_mixer.word_tokenizer import commonest_stems
from tests.commands import run_here
from tests.mlx_mixer.training.runs import ignore, language_run, same_course, weights_of, write_data
from tests.tiny import byte_tokenizer, tiny_config, tiny_model

BOTH_UNITS = pytest.mark.parametrize("units", ["words", "pieces"])


@pytest.fixture(autouse=True)
def _uncompiled() -> Iterator[None]:
    mx.disable_compile()
    yield
    mx.enable_compile()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    mx.disable_compile()
    folder = write_data(tmp_path_factory.mktemp("contextual") / "data", 140)
    train_language(language_run(folder, folder / "lm", steps=2), resume=False, report=ignore, narrate=ignore)
    # What the embedder reads; the runs read the file that it would be made of.
    byte_tokenizer().save(str(folder / "lm" / "tokenizer.json"))
    return folder


def contextual_run(data: Path, out: Path, **changes: Any) -> RetrievalRun:
    loop = {"steps": 20, "learning_rate": 1e-2, "embedding_rate": 4.0, "warmup_steps": 2, "checkpoint_every": 5}
    run = RetrievalRun(
        pairs=[data / "pairs.jsonl"],
        init=data / "lm",
        out=out,
        embedding_size=24,
        embedding_layers=1,
        embedding_intermediate_size=32,
        embedding_heads=2,
        words=40,
        word_buckets=16,
        temperature=0.2,
        drawing=PairSettings(batch_size=16, span_share=0.1),
        loop=LoopSettings(**{**loop, **changes.pop("loop", {})}),
    )
    return replace(run, **changes)


def further(run: RetrievalRun, init: Path, out: Path, **changes: Any) -> RetrievalRun:
    """The run that goes on with a model."""
    fresh = ("embedding_size", "embedding_layers", "embedding_intermediate_size", "embedding_heads", "units")
    return replace(run, init=init, out=out, **{**dict.fromkeys(fresh), **changes})


def losses(run: RetrievalRun, *, resume: bool = False, stop_at: int = 0) -> list[float]:
    found = []

    def report(step: StepReport) -> None:
        found.append(step.loss)
        if step.step == stop_at:
            raise KeyboardInterrupt

    train_retrieval(run, resume=resume, report=report, narrate=ignore)
    return found


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in before if not np.array_equal(np.array(before[name]), np.array(after[name]))}


@BOTH_UNITS
def test_vectors_and_their_blocks_learn_to_find_and_leave_writing_alone(data: Path, tmp_path: Path, units: str) -> None:
    run = contextual_run(data, tmp_path / "out", units=units, valid=[data / "pairs.jsonl"])
    found: list[float] = []
    summary = train_retrieval(run, resume=False, report=lambda step: found.append(step.loss), narrate=ignore)
    assert np.mean(found[-5:]) < 0.8 * np.mean(found[:5])
    before, after = weights_of(data / "lm"), weights_of(tmp_path / "out")
    writing = {name for name in before if not name.startswith("pooling.")}
    assert not changed({name: before[name] for name in writing}, after)
    # They started at zero.
    for name in ("token_mixing.out_proj", "channel_mixing.down"):
        assert np.array(after[f"pooling.layers.0.{name}.weight"]).any()
    config = load_config(tmp_path / "out")
    assert isinstance(config, LanguageMixerConfig)
    assert (config.pooling, config.embedding_parts, config.embedding_heads) == ("contextual", (24,), 2)
    assert config.word_vocab_size == (56 if units == "words" else None)
    assert sum(array.size for array in after.values()) == config.num_parameters
    pairs = read_pairs(run.pairs)
    if units == "words":
        words = (tmp_path / "out" / "words.txt").read_text().splitlines()
        assert words == commonest_stems((pair.passage for pair in pairs), 40)
        # The product's own way to the vectors finds what the run's own found.
        embedder = load_embedder(tmp_path / "out")
        scorer = vector_scorer(
            embedder.embed([pair.queries[0] for pair in pairs]), embedder.embed([pair.passage for pair in pairs])
        )
        score = top1_among(len(pairs), np.ones(len(pairs), bool), scorer, queries=1000, seed=0).accuracy
        assert summary.best_score == pytest.approx(score)
    else:
        assert not (tmp_path / "out" / "words.txt").exists()


@BOTH_UNITS
def test_an_interrupted_run_with_a_teacher_ends_in_the_same_weights(data: Path, tmp_path: Path, units: str) -> None:
    pairs = read_pairs([data / "pairs.jsonl"])
    rng = np.random.default_rng(0)
    count = sum(len(pair.queries) for pair in pairs)
    save_teacher(
        tmp_path / "teacher.safetensors",
        rng.standard_normal((len(pairs), 4)).astype(np.float32),
        rng.standard_normal((count, 4)).astype(np.float32),
    )
    options: dict[str, Any] = {
        "units": units,
        "teacher": tmp_path / "teacher.safetensors",
        "teacher_weight": 0.2,
        "tokens_per_chunk": 512,
        "matryoshka": (8,),
        "mining": MiningSettings(count=2, miner="both", pool=8, every=4, among=100),
        "loop": {"steps": 9, "checkpoint_every": 3},
    }
    whole = contextual_run(data, tmp_path / "whole", **{**options, "loop": dict(options["loop"])})
    cut = contextual_run(data, tmp_path / "cut", **options)
    without_teacher = losses(contextual_run(data, tmp_path / "alone", units=units, loop={"steps": 1}))
    found = losses(whole)
    assert abs(found[0] - without_teacher[0]) > 1e-3
    with pytest.raises(KeyboardInterrupt):
        losses(cut, stop_at=5)
    for name, value in (("embedding_layers", 2), ("embedding_heads", 3), ("embedding_intermediate_size", 16)):
        with pytest.raises(UsageError, match=f"was started with {name} = "):
            losses(replace(cut, **{name: value}), resume=True)
    with pytest.raises(UsageError, match=f"was started with units = '{units}'"):
        losses(replace(cut, units="words" if units == "pieces" else "pieces"), resume=True)
    losses(cut, resume=True)
    same_course(tmp_path / "whole", tmp_path / "cut", rtol=1e-4)


def test_a_teacher_alone_is_followed(data: Path, tmp_path: Path) -> None:
    pairs = read_pairs([data / "pairs.jsonl"])
    rng = np.random.default_rng(0)
    passages = rng.standard_normal((len(pairs), 32)).astype(np.float32)
    queries = np.repeat(passages, [len(pair.queries) for pair in pairs], axis=0)
    save_teacher(tmp_path / "t.safetensors", passages, queries)
    run = contextual_run(data, tmp_path / "out", teacher=tmp_path / "t.safetensors", teacher_weight=1.0)
    found = losses(replace(run, drawing=PairSettings(batch_size=32, span_share=0.0)))
    assert np.mean(found[-5:]) < 0.9 * np.mean(found[:5])


def test_compiled_steps_in_chunks_take_the_same_course(data: Path, tmp_path: Path) -> None:
    plain = losses(contextual_run(data, tmp_path / "plain", loop={"steps": 2}))
    mx.enable_compile()
    compiled = losses(contextual_run(data, tmp_path / "compiled", tokens_per_chunk=512, loop={"steps": 2}))
    np.testing.assert_allclose(compiled, plain, rtol=1e-4)


def test_a_model_goes_on_learning_to_find_and_to_write(data: Path, tmp_path: Path) -> None:
    run = contextual_run(data, tmp_path / "first", loop={"steps": 4})
    losses(run)
    losses(further(run, tmp_path / "first", tmp_path / "second"))
    before, after = weights_of(tmp_path / "first"), weights_of(tmp_path / "second")
    moved = changed(before, after)
    assert moved == {name for name in before if name.startswith("pooling.")}
    assert (tmp_path / "second" / "words.txt").read_bytes() == (tmp_path / "first" / "words.txt").read_bytes()
    fresh = language_run(data, tmp_path / "wrote", steps=2)
    write = LanguageRun(data=fresh.data, out=fresh.out, init=tmp_path / "second", loop=fresh.loop)
    train_language(write, resume=False, report=ignore, narrate=ignore)
    wrote = weights_of(tmp_path / "wrote")
    assert not {name for name in changed(after, wrote) if name.startswith("pooling.")}
    assert "embed_tokens.weight" in changed(after, wrote)
    assert load_config(tmp_path / "wrote") == load_config(tmp_path / "second")
    texts = ["a file for a list", "every server"]
    np.testing.assert_allclose(
        load_embedder(tmp_path / "wrote").embed(texts), load_embedder(tmp_path / "second").embed(texts), atol=1e-6
    )


def test_fresh_vectors_take_the_place_of_others_whatever_those_were(data: Path, tmp_path: Path) -> None:
    one = {"loop": {"steps": 1}}
    run = contextual_run(data, tmp_path / "words", loop={"steps": 1})
    losses(run)
    static = further(run, tmp_path / "words", tmp_path / "static", embedding_size=24)
    losses(static)
    config = load_config(tmp_path / "static")
    assert isinstance(config, LanguageMixerConfig)
    assert (config.pooling, config.word_vocab_size, config.embedding_layers) == ("static", None, None)
    both = further(run, tmp_path / "static", tmp_path / "both", word_embedding_size=16)
    losses(both)
    losses(contextual_run(data, tmp_path / "again", init=tmp_path / "both", units="pieces", **one))
    model = load_language_model(tmp_path / "again")
    assert isinstance(model.pooling, ContextualPooling)
    assert "word_pooling" not in model
    assert not embeds_words_alone(model.config)
    with pytest.raises(UnsupportedModelError, match="pools by 'contextual'; vectors of words stand beside"):
        losses(further(run, tmp_path / "words", tmp_path / "no", word_embedding_size=16))
    assert isinstance(load_language_model(tmp_path / "both").word_pooling, StaticPooling)


def test_settings_that_do_not_fit_are_refused(data: Path, tmp_path: Path) -> None:
    for changes, told in (
        ({"embedding_layers": None}, "embedding_intermediate_size is 32, which is about fresh blocks"),
        ({"embedding_size": None}, "give --embedding-size with them"),
        ({"embedding_layers": 0}, "embedding_layers is 0"),
        ({"embedding_heads": 5}, "24 does not divide into 5 heads"),
        ({"word_embedding_size": 8}, "leave out --word-embedding-size"),
        ({"units": "letters"}, "units is 'letters'; it must be one of pieces, words"),
    ):
        with pytest.raises(UsageError, match=told):
            contextual_run(data, tmp_path / "out", **changes)
    with pytest.raises(UsageError, match="'contextual' pooling has its own"):
        losses(contextual_run(data, tmp_path / "out", through_blocks=True, tuning=Tuning(lora=2)))
    assert not (tmp_path / "out").exists()


def test_sizes_that_are_left_out_follow_from_that_of_the_vectors(data: Path, tmp_path: Path) -> None:
    sizes = {24: (64, 1), 128: (320, 2)}
    for size, expected in sizes.items():
        out = tmp_path / str(size)
        done = run_here(
            *("train", "retrieval", data / "pairs.jsonl", "--init", data / "lm", "-o", out, "--steps", 1),
            *("--embedding-size", size, "--embedding-layers", 2, "--batch-size", 8, "--words", 130),
        )
        assert done.returncode == 0, done.stderr
        config = load_config(out).to_dict()
        assert (config["embedding_intermediate_size"], config["embedding_heads"]) == expected
        assert (config["embedding_layers"], config["pooling"]) == (2, "contextual")
        assert "word_vocab_size" in config


def test_blocks_for_search_learn_at_the_rate_of_blocks() -> None:
    """With a gradient of one everywhere, AdamW's first step is the rate."""
    model = tiny_model(
        pooling="contextual", embedding_size=8, embedding_layers=1, embedding_intermediate_size=8, embedding_heads=1
    )
    optimizer = RatedAdamW(LoopSettings(steps=1, embedding_rate=10.0, weight_decay=0.0))
    optimizer.init(model.trainable_parameters())
    optimizer.set_rate(1e-3)
    before = model.pooling.table.weight, model.pooling.token_weight, model.pooling.layers[0].channel_mixing.up.weight
    ones = {"table": {"weight": mx.ones((64, 8))}, "token_weight": mx.ones((64,))}
    ones["layers"] = [{"channel_mixing": {"up": {"weight": mx.ones((8, 8))}}}]
    optimizer.update(model, {"pooling": ones})
    after = model.pooling.table.weight, model.pooling.token_weight, model.pooling.layers[0].channel_mixing.up.weight
    steps = [float(mx.abs(new - old).mean().item()) for old, new in zip(before, after, strict=True)]
    assert steps[0] == pytest.approx(10 * steps[2], rel=1e-2)
    assert steps[1] == pytest.approx(10 * steps[2], rel=1e-2)


def test_words_alone_are_one_view() -> None:
    config = tiny_config(
        pooling="contextual",
        embedding_size=8,
        embedding_layers=1,
        embedding_heads=1,
        embedding_intermediate_size=8,
    )
    assert view_bounds(config) == [0, 64]
    assert view_bounds(replace(config, word_vocab_size=9)) == [0, 9]
