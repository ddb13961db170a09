"""Adapting a model whose vectors go through blocks of their own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlx_mixer.checkpoint import load_config, load_language_model
from mlx_mixer.documents.library import Library
from mlx_mixer.embedding import load_embedder
from mlx_mixer.personal.adapt import MODEL, AdaptSettings, adapt, effort_for, mine_library
from tests.mlx_mixer.personal.made_up import write_files
from tests.mlx_mixer.training.runs import weights_of
from tests.tiny import tiny_model_folder

SIZES = {
    "embedding_size": 64,
    "embedding_layers": 1,
    "embedding_intermediate_size": 64,
    "embedding_heads": 2,
    "word_vocab_size": 600,
}


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    folder = tiny_model_folder(tmp_path / "origin", pooling="contextual", context_length=96, eos_token_id=256, **SIZES)
    (folder / "words.txt").write_text("the\nand\n", encoding="utf-8")
    return folder


def test_a_model_with_blocks_is_given_fewer_pairs_and_passages(tmp_path: Path, origin: Path) -> None:
    static = tiny_model_folder(tmp_path / "static", pooling="static", embedding_size=16)
    settings = AdaptSettings()
    few, many = effort_for(str(origin), settings), effort_for(str(static), settings)
    assert (many.steps, many.batch_size, many.block_rate) == (settings.steps, settings.batch_size, 1.0)
    assert (few.steps, few.batch_size) == (24, 128)
    assert len(few.shares) == 3
    assert set(few.shares) < set(many.shares)
    # At 100 passages a second for each, and a pair at four: in seconds, with the test among all on both models.
    learning = few.steps * few.batch_size * 4 / 100
    assert learning + (1 + len(few.shares)) * few.valid_chunks / 100 + 2 * 5_000 / 100 < 600
    assert effort_for(str(origin), replace(settings, steps=3, batch_size=8)).steps == 3


def test_a_library_embedded_by_such_a_model_is_learned_from(tmp_path: Path, origin: Path, library: Library) -> None:
    library.add([write_files(tmp_path / "docs")])
    library.take_over(str(origin), load_embedder(origin))
    library.embed_pending(lambda _: None)
    assert library.embedder_choice().current == str(origin)
    settings = AdaptSettings(steps=3)
    told: list[tuple[str, int, int]] = []
    mined = mine_library(library, settings, lambda *_: None)
    work = tmp_path / "work"
    work.mkdir()
    candidate = adapt(
        library, mined, settings, work, report=lambda *step: told.append(step), is_cancelled=lambda: False
    )
    assert (candidate.steps, candidate.origin) == (3, str(origin))
    assert candidate.share in (0.5, 0.75, 1.0)
    assert [step for step in told if step[0] == "learning"][-1] == ("learning", 3, 3)
    # The present model and three mixtures; then the present model and the best of them.
    for stage, models in (("choosing", 4), ("testing", 2)):
        for number in range(1, models + 1):
            for what in ("passages", "questions"):
                last = [step for step in told if step[0] == f"{stage}, model {number} of {models}: {what}"][-1]
                assert last[1] == last[2] > 0
    before, after = weights_of(origin), weights_of(work / "trained")
    moved = {name for name in before if not np.array_equal(np.array(before[name]), np.array(after[name]))}
    assert moved == {name for name in before if name.startswith("pooling.")}
    model = load_language_model(work / MODEL)
    assert replace(model.config, temperature=None) == load_config(origin)
    assert load_embedder(work / MODEL).embed(["the ponds"]).any()
