"""A fresh model is a bag of words, whatever its token mixing."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx import nn

from mlx_mixer.layers.pooling import StaticPooling
from mlx_mixer.training.language import language_loss
from mlx_mixer.training.start import VECTOR_LENGTH, fresh_model, start_words
from mlx_mixer.training.token_vectors import cooccurrence_vectors
from tests.tiny import FORMS, STRUCTURED, TOEPLITZ, tiny_config

EVERY_FORM = {**FORMS, **STRUCTURED, **TOEPLITZ}

TEXTS = [[number % 64, (7 * number) % 64, (number * number) % 64] for number in range(200)]
IDS = mx.array([[5, 9, 33, 60, 1]])


@pytest.mark.parametrize("form", EVERY_FORM)
def test_blocks_add_nothing_at_first_but_learn(form: str) -> None:
    changes: dict[str, Any] = EVERY_FORM[form]
    model = fresh_model(tiny_config(**changes), None)
    vectors = model.embed_tokens(IDS)
    expected = nn.relu(vectors) if changes.get("final_activation") == "relu" else vectors
    assert mx.array_equal(model.hidden_states(IDS), expected)
    _, gradients = nn.value_and_grad(model, language_loss)(model, IDS, IDS)
    for layer in gradients["layers"]:
        moved = [mx.abs(value).max().item() for value in layer["token_mixing"].values() if isinstance(value, mx.array)]
        moved += (
            [mx.abs(layer["token_mixing"]["out_proj"]["bias"]).max().item()]
            if "out_proj" in layer["token_mixing"]
            else []
        )
        assert max(moved) > 0
        if "channel_mixing" in layer:
            assert mx.abs(layer["channel_mixing"]["down"]["weight"]).max().item() > 0


def test_vectors_and_weights_come_from_cooccurrence() -> None:
    found = cooccurrence_vectors(TEXTS, 64, 16)
    model = fresh_model(tiny_config(pooling="token_weighted"), found)
    np.testing.assert_allclose(np.array(model.embed_tokens.weight), VECTOR_LENGTH * found.vectors, rtol=1e-6)
    weights = np.array(nn.softplus(model.pooling.token_weight))
    seen = found.idf > 0.1
    np.testing.assert_allclose(weights[seen] / weights.max(), found.idf[seen] / found.idf.max(), rtol=1e-3)


def test_vectors_of_words_start_half_from_co_occurrence_and_half_at_random() -> None:
    found = cooccurrence_vectors(TEXTS, 64, 32)
    pooling, again, other = (StaticPooling(64, 32) for _ in range(3))
    for started, seed in ((pooling, 1), (again, 1), (other, 2)):
        start_words(started, found, seed)
    table = np.array(pooling.table.weight, np.float64)
    np.testing.assert_allclose(np.linalg.norm(table, axis=1), VECTOR_LENGTH, rtol=1e-5)
    assert np.array_equal(table, np.array(again.table.weight))
    first, second = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (table, np.array(other.table.weight))
    )
    seen = np.linalg.norm(found.vectors, axis=1) > 0
    unit = found.vectors[seen] / np.linalg.norm(found.vectors[seen], axis=1, keepdims=True)
    # Two unit vectors that have nothing to do with each other, added: each keeps a cosine of about .7 with the sum.
    assert (first[seen] * unit).sum(axis=1).mean() == pytest.approx(0.5**0.5, abs=0.08)
    assert (first[seen] * second[seen]).sum(axis=1).mean() == pytest.approx(0.5, abs=0.08)
    weight = np.log1p(np.exp(np.array(pooling.token_weight, np.float64)))
    np.testing.assert_allclose(weight, 3 * np.maximum(found.idf / found.idf.max(), 0.005) ** 0.5, rtol=1e-4)
