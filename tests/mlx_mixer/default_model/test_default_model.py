"""The model in the package: it is what its card says, and it does what it is for."""

import hashlib
import json
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mlx_mixer.checkpoint import default_model_path, load_model
from mlx_mixer.embedding import load_embedder
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.training.bm25 import BM25Scorer
from mlx_mixer.training.evaluate import vector_scorer
from mlx_mixer.training.tokenizer import load_encoder

LARGEST = 16_000_000
CARD = default_model_path().parent / "MODEL_CARD.md"
PAIRS = json.loads((Path(__file__).parent / "pairs.json").read_text())
# Share of the hand-written questions beside this file whose passage comes first among all of them. Few words are shared
# on purpose, so keywords find a sixth.
SMALLEST_TOP1 = 0.75


@pytest.fixture(scope="module")
def model() -> LanguageMixer:
    return load_model(default_model_path())


def test_it_is_small_enough_to_ship() -> None:
    assert sum(file.stat().st_size for file in default_model_path().iterdir()) <= LARGEST


def test_the_card_names_these_weights() -> None:
    digest = hashlib.sha256((default_model_path() / "model.safetensors").read_bytes()).hexdigest()
    assert f"`{digest}`" in CARD.read_text()


def test_it_predicts_prose_far_better_than_chance(model: LanguageMixer) -> None:
    text = "This package contains the development files and the documentation of the library."
    ids = load_encoder(default_model_path())([text])[0]
    logits = model(mx.array([ids]))
    assert mx.isfinite(logits).all()
    logprobs = np.array(logits - mx.logsumexp(logits, axis=-1, keepdims=True))[0]
    mean = float(np.mean([logprobs[position, ids[position + 1]] for position in range(len(ids) - 1)]))
    # Chance is -log 8192 = -9.
    assert mean > -4


def test_it_finds_more_than_keywords_where_words_differ() -> None:
    embedder = load_embedder()
    questions, passages = zip(*PAIRS, strict=True)
    vectors = vector_scorer(embedder.embed(questions, "query"), embedder.embed(passages))
    everything = np.arange(len(PAIRS))
    found, by_keywords = (
        float((scorer(everything, everything).argmax(axis=1) == everything).mean())
        for scorer in (vectors, BM25Scorer(questions, passages))
    )
    assert found >= SMALLEST_TOP1
    assert by_keywords < found


def test_embedding_leaves_out_the_blocks_that_write(model: LanguageMixer) -> None:
    """Vectors and blocks for search alone: learning to find disturbs no writing, and indexing runs two blocks."""
    assert model.config.pooling == "contextual"
    assert model.config.embedding_layers == 2
    assert model.config.fold_case


def test_the_recipe_holds_out_packages_that_it_fetches() -> None:
    folder = default_model_path().parent
    packages, more, held_out = (
        (folder / name).read_text().split() for name in ("packages.txt", "more_packages.txt", "held_out_packages.txt")
    )
    for names in (packages, more):
        assert len(set(names)) == len(names)
    assert set(held_out) < set(packages)
    assert not set(held_out) & set(more)
