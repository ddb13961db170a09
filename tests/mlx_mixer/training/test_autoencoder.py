"""Autoencoders: what they are shown, that they learn to give it back, and that their encoder embeds."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from click.testing import CliRunner
from mlx import nn
from mlx.utils import tree_flatten

from convert.words.tokenizers import install_tokenizer
from mlx_mixer.checkpoint import load_model
from mlx_mixer.cli.train import train
from mlx_mixer.embedding import load_embedder
from mlx_mixer.errors import UnsupportedModelError, UsageError
from mlx_mixer.models.autoencoding import AutoencodingMixer, reconstruction_loss
from mlx_mixer.training.autoencoder_run import AutoencoderRun, AutoencoderSizes, train_autoencoder
from mlx_mixer.training.loop import LoopSettings
from mlx_mixer.training.reconstruction import autoencoding_loss, full_windows, reconstruction_of, window_batches
from tests.mlx_mixer.training.runs import write_data
from tests.tiny import tiny_model_folder


@pytest.fixture(autouse=True)
def _uncompiled() -> Iterator[None]:
    mx.disable_compile()
    yield
    mx.enable_compile()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("autoencoder") / "data")


def ignore(_: object) -> None:
    """Told something that does not matter here."""


def autoencoder_run(data: Path, out: Path, **options: Any) -> AutoencoderRun:
    loop = {"steps": 60, "warmup_steps": 3, "learning_rate": 1e-2, "validate_every": 30, **options.pop("loop", {})}
    sizes = {
        "hidden_size": 32,
        "num_layers": 1,
        "num_decoder_layers": 1,
        "context_length": 8,
        "intermediate_size": 32,
        **options.pop("sizes", {}),
    }
    return AutoencoderRun(
        data=[data / "pairs.jsonl"],
        out=out,
        **{"tokenizer": data / "tokenizer", "batch_size": 32, **options},
        sizes=AutoencoderSizes(**sizes),
        loop=LoopSettings(**loop),
    )


def test_windows_are_full_and_short_texts_stand_at_their_end() -> None:
    windows = full_windows([[5, 6, 7, 8, 9], [3], []], 4, pad_token_id=2)
    assert windows.ids.tolist() == [[5, 6, 7, 8], [2, 2, 2, 9], [2, 2, 2, 3]]
    assert windows.labels.tolist() == [[5, 6, 7, 8], [-100, -100, -100, 9], [-100, -100, -100, 3]]
    assert windows.num_tokens == 6


def test_every_window_comes_once_before_any_comes_again() -> None:
    windows = full_windows([[number] for number in range(10, 20)], 2, pad_token_id=2)
    batch_at = window_batches(windows, 5, seed=1)
    firsts, seconds = (
        [int(row[1]) for step in steps for row in batch_at(step)[0][0].tolist()] for steps in ((0, 1), (2, 3))
    )
    assert sorted(firsts) == sorted(seconds) == list(range(10, 20))
    assert firsts != seconds


@pytest.mark.parametrize("decoder_input", ["repeat", "unroll"])
def test_the_loss_is_the_model_s_own_with_its_gradients(data: Path, tmp_path: Path, decoder_input: Any) -> None:
    run = autoencoder_run(data, tmp_path / "out", loop={"steps": 1}, sizes={"decoder_input": decoder_input})
    train_autoencoder(run, resume=False, report=ignore, narrate=ignore)
    model = load_model(tmp_path / "out")
    assert isinstance(model, AutoencodingMixer)
    windows = full_windows([list(range(20, 33)), [40, 41]], 8, 2)
    ids, labels = mx.array(windows.ids), mx.array(windows.labels)
    value, gradients = nn.value_and_grad(model, autoencoding_loss)(model, ids, labels)
    expected, same = nn.value_and_grad(model, reconstruction_loss)(model, ids, labels)
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)
    for (name, array), (same_name, right) in zip(tree_flatten(gradients), tree_flatten(same), strict=True):
        assert name == same_name
        np.testing.assert_allclose(np.array(array), np.array(right), rtol=1e-3, atol=1e-5, err_msg=name)


def test_what_comes_back_is_counted_token_by_token(data: Path, tmp_path: Path) -> None:
    run = autoencoder_run(data, tmp_path / "out", loop={"steps": 20})
    train_autoencoder(run, resume=False, report=ignore, narrate=ignore)
    model = load_model(tmp_path / "out")
    assert isinstance(model, AutoencodingMixer)
    windows = full_windows([[20 + number % 40 for number in range(700)], [30, 31, 32]], 8, 2)
    logits = np.array(model(mx.array(windows.ids)), np.float64)
    counted = windows.labels != -100
    loss = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, windows.ids[..., None], -1)[..., 0]
    found = reconstruction_of(model, windows)
    assert found.tokens == 703
    assert found.loss == pytest.approx(loss[counted].mean(), rel=1e-4)
    assert found.accuracy == pytest.approx((logits.argmax(-1) == windows.ids)[counted].mean())


def test_an_autoencoder_learns_to_give_texts_back_and_embeds_them(data: Path, tmp_path: Path) -> None:
    losses: list[float] = []
    summary = train_autoencoder(
        autoencoder_run(data, tmp_path / "out"),
        resume=False,
        report=lambda step: losses.append(step.loss),
        narrate=ignore,
    )
    assert np.mean(losses[-5:]) < losses[0] - 1
    assert summary.held_out is not None
    assert summary.held_out.accuracy > 0.1
    # What `train tokenizer` puts beside the SentencePiece model, which the fixture does without.
    install_tokenizer(data / "tokenizer" / "tokenizer.model", tmp_path / "out", 320)
    embedder = load_embedder(tmp_path / "out")
    vectors = embedder.embed(["This package helps with a file.", "This package helps with a file.", "music"])
    assert vectors.shape == (3, 32)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert vectors[0] @ vectors[2] < 0.99


def test_an_interrupted_run_goes_on_and_a_finished_one_can_be_trained_further(data: Path, tmp_path: Path) -> None:
    def losses(run: AutoencoderRun, *, resume: bool = False, stop_at: int = 0) -> list[float]:
        found: list[float] = []

        def report(step: Any) -> None:
            found.append(step.loss)
            if step.step == stop_at:
                raise KeyboardInterrupt

        train_autoencoder(run, resume=resume, report=report, narrate=ignore)
        return found

    loop = {"steps": 8, "checkpoint_every": 3}
    whole = losses(autoencoder_run(data, tmp_path / "whole", loop=loop))
    cut = autoencoder_run(data, tmp_path / "cut", loop=loop)
    with pytest.raises(KeyboardInterrupt):
        losses(cut, stop_at=4)
    np.testing.assert_allclose(losses(cut, resume=True), whole[4:], rtol=1e-4)
    further = autoencoder_run(data, tmp_path / "further", tokenizer=None, init=tmp_path / "whole", loop=loop)
    assert losses(further)[0] < whole[0]


def test_what_cannot_be_trained_is_one_clear_line(data: Path, tmp_path: Path) -> None:
    tiny_model_folder(tmp_path / "lm")
    run = autoencoder_run(data, tmp_path / "out", tokenizer=None, init=tmp_path / "lm")
    with pytest.raises(UnsupportedModelError, match="gives no texts back"):
        train_autoencoder(run, resume=False, report=ignore, narrate=ignore)
    with pytest.raises(UsageError, match="not both"):
        autoencoder_run(data, tmp_path / "out", tokenizer=None)
    with pytest.raises(UsageError, match="batch_size is 0"):
        autoencoder_run(data, tmp_path / "out", batch_size=0)


def test_the_command_says_how_much_comes_back(data: Path, tmp_path: Path) -> None:
    arguments = ["autoencoder", data / "pairs.jsonl", "--tokenizer", data / "tokenizer", "-o", tmp_path / "out"]
    arguments += ["--hidden-size", 16, "--layers", 1, "--decoder-layers", 1, "--context-length", 8]
    arguments += ["--intermediate-size", 16, "--compressed-size", 4, "--steps", 2, "--warmup-steps", 1, "--half"]
    result = CliRunner().invoke(train, [str(word) for word in [*arguments, "--json"]], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["steps"] == 2
    assert 0 <= found["held_out"]["accuracy"] <= 1
