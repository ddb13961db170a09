"""What is trained of a finished model, and what is not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx import nn
from mlx.utils import tree_flatten

from mlx_mixer.errors import UsageError
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.training.cross_entropy import head_cross_entropy
from mlx_mixer.training.language import language_loss
from mlx_mixer.training.language_run import LanguageRun, ModelSizes, train_language
from mlx_mixer.training.loop import StepReport
from mlx_mixer.training.lora import AdaptedLinear, add_adapters, merge_adapters
from mlx_mixer.training.pair_batches import PairSettings
from mlx_mixer.training.retrieval_run import RetrievalRun, train_retrieval
from mlx_mixer.training.tuning import Tuning
from tests.mlx_mixer.training.runs import ignore, language_run, logged, same_course, weights_of, write_data
from tests.tiny import FORMS, STRUCTURED, tiny_model

IDS = mx.array([[5, 9, 33, 60, 1, 7]])
LINEAR_MAPS = {"layers.1.channel_mixing.up.weight", "layers.1.channel_mixing.down.weight"}


@pytest.fixture(autouse=True)
def _uncompiled() -> Any:
    mx.disable_compile()
    yield
    mx.enable_compile()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs, a tokenizer, and a model of two blocks."""
    mx.disable_compile()
    folder = write_data(tmp_path_factory.mktemp("tuning") / "data")
    run = language_run(folder, folder / "model", steps=10)
    run = replace(run, sizes=ModelSizes(hidden_size=16, num_layers=2, context_length=24, intermediate_size=32))
    train_language(run, resume=False, report=ignore, narrate=ignore)
    return folder


def tuned(data: Path, out: Path, **tuning: int) -> LanguageRun:
    return LanguageRun(
        data=[data / "pairs.jsonl"],
        out=out,
        init=data / "model",
        tokens_per_batch=256,
        tuning=Tuning(**tuning),
        loop=language_run(data, out, steps=12, learning_rate=1e-2).loop,
    )


def changes(data: Path, out: Path) -> dict[str, Any]:
    """What was added to each weight that moved."""
    before, after = weights_of(data / "model"), weights_of(out)
    assert before.keys() == after.keys()
    added = {name: np.array(after[name]) - np.array(before[name]) for name in before}
    return {name: array for name, array in added.items() if array.any()}


@pytest.mark.parametrize("form", {**FORMS, **STRUCTURED})
def test_an_adapter_changes_nothing_at_first_and_merges_into_what_it_computes(form: str) -> None:
    model = tiny_model(**{**FORMS, **STRUCTURED}[form])
    before = model.hidden_states(IDS)
    added = sum([add_adapters(layer, 3) for layer in model.layers])
    if form == "linear":
        assert added == 0
        return
    np.testing.assert_allclose(np.array(model.hidden_states(IDS)), np.array(before), rtol=1e-6, atol=3e-6)
    for number, (_, module) in enumerate(model.named_modules()):
        if isinstance(module, AdaptedLinear):
            module.adapter_up = mx.random.normal(module.adapter_up.shape, key=mx.random.key(number)) * 0.1
    adapted = model.hidden_states(IDS)
    assert mx.abs(adapted - before).max().item() > 1e-3
    merge_adapters(model)
    assert dict(tree_flatten(model.parameters())).keys() == dict(tree_flatten(tiny_like(model).parameters())).keys()
    np.testing.assert_allclose(np.array(model.hidden_states(IDS)), np.array(adapted), rtol=1e-4, atol=1e-4)


def tiny_like(model: LanguageMixer) -> LanguageMixer:
    return LanguageMixer(model.config)


def test_an_adapter_adds_a_matrix_of_its_rank_to_the_linear_maps_alone(data: Path, tmp_path: Path) -> None:
    told: list[str] = []
    train_language(tuned(data, tmp_path / "out", lora=3), resume=False, report=ignore, narrate=told.append)
    added = changes(data, tmp_path / "out")
    assert set(added) == {*LINEAR_MAPS, *(name.replace("layers.1", "layers.0") for name in LINEAR_MAPS)}
    for name, array in added.items():
        sizes = np.linalg.svd(array, compute_uv=False)
        assert sizes[2] > 1e-4 * sizes[0], name
        assert sizes[3] < 1e-4 * sizes[0], name
    # Two blocks, two maps of 16 and 32 features each, rank 3.
    assert any(line.startswith(f"training {2 * 2 * 3 * (16 + 32)} of ") for line in told)


def test_adapters_may_stand_in_the_last_blocks_alone(data: Path, tmp_path: Path) -> None:
    run = tuned(data, tmp_path / "out", lora=2, last_layers=1)
    train_language(run, resume=False, report=ignore, narrate=ignore)
    assert set(changes(data, tmp_path / "out")) == LINEAR_MAPS


def test_the_last_blocks_alone_are_trained(data: Path, tmp_path: Path) -> None:
    train_language(tuned(data, tmp_path / "out", last_layers=1), resume=False, report=ignore, narrate=ignore)
    assert logged(tmp_path / "out", "loss")[-1] < logged(tmp_path / "out", "loss")[0]
    moved = set(changes(data, tmp_path / "out"))
    assert moved == {name for name in weights_of(data / "model") if name.startswith("layers.1.")}


@pytest.mark.parametrize("tuning", [{"lora": 2, "last_layers": 1}, {"last_layers": 1}])
def test_a_model_learns_to_find_with_a_part_of_its_blocks(data: Path, tmp_path: Path, tuning: dict[str, int]) -> None:
    run = RetrievalRun(
        pairs=[data / "pairs.jsonl"],
        init=data / "model",
        out=tmp_path / "out",
        through_blocks=True,
        tuning=Tuning(**tuning),
        drawing=PairSettings(batch_size=8),
        loop=language_run(data, tmp_path, steps=6, learning_rate=1e-2).loop,
    )
    train_retrieval(run, resume=False, report=ignore, narrate=ignore)
    moved = set(changes(data, tmp_path / "out"))
    blocks = {name for name in moved if name.startswith("layers.")}
    if "lora" in tuning:
        assert blocks == LINEAR_MAPS
    else:
        assert {name.rpartition(".")[0] for name in blocks} > {"layers.1.channel_mixing.up", "layers.1.token_mixing"}
        assert all(name.startswith("layers.1.") for name in blocks)
    assert moved - blocks == {"pooling.token_weight", "pooling.layer_gate"}
    with pytest.raises(UsageError, match="give --through-blocks with them"):
        replace(run, through_blocks=False)


def test_an_interrupted_run_with_adapters_goes_on(data: Path, tmp_path: Path) -> None:
    def interrupt(report: StepReport) -> None:
        if report.step == 5:
            raise KeyboardInterrupt

    stopped = tuned(data, tmp_path / "stopped", lora=2)
    with pytest.raises(KeyboardInterrupt):
        train_language(stopped, resume=False, report=interrupt, narrate=ignore)
    train_language(stopped, resume=True, report=ignore, narrate=ignore)
    train_language(tuned(data, tmp_path / "whole", lora=2), resume=False, report=ignore, narrate=ignore)
    same_course(tmp_path / "stopped", tmp_path / "whole")


def test_a_frozen_head_changes_no_other_gradient() -> None:
    model = tiny_model()
    _, whole = nn.value_and_grad(model, language_loss)(model, IDS, IDS)
    model.lm_head.freeze()
    loss, partial = nn.value_and_grad(model, language_loss)(model, IDS, IDS)
    expected: dict[str, mx.array] = dict(tree_flatten(whole))
    found: dict[str, mx.array] = dict(tree_flatten(partial))
    assert expected.keys() - found.keys() == {"lm_head.weight"}
    for name, array in found.items():
        np.testing.assert_allclose(np.array(array), np.array(expected[name]), atol=1e-6, err_msg=name)
    hidden = model.hidden_states(IDS)[:, :-1].reshape(5, -1)
    assert head_cross_entropy(hidden, model.lm_head.weight, IDS[0, 1:]).item() == pytest.approx(loss.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("tuning", "message"),
    [
        ({"last_layers": 3}, "last_layers is 3; the model has 2 blocks"),
        ({"lora": -1}, "lora is -1; it must not be negative"),
    ],
)
def test_what_cannot_be_trained_is_one_clear_line(
    data: Path, tmp_path: Path, tuning: dict[str, int], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        train_language(tuned(data, tmp_path / "out", **tuning), resume=False, report=ignore, narrate=ignore)


def test_a_fresh_model_has_nothing_to_adapt(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give it as --init MODEL"):
        replace(language_run(data, tmp_path / "out"), tuning=Tuning(lora=2))
