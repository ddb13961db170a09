"""Gradients in chunks, against those of the whole batch at once."""

import gc
from collections.abc import Callable, Iterator
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx import nn
from mlx.utils import tree_flatten

from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.training.contrastive import text_embeddings
from mlx_mixer.training.data import Pair
from mlx_mixer.training.hard_negatives import SameText
from mlx_mixer.training.objective import ObjectiveSettings
from mlx_mixer.training.pair_arrays import Targets, window_batches, window_gradients
from mlx_mixer.training.pair_batches import DrawnPairs, windows_of
from tests.tiny import tiny_model


@pytest.fixture(autouse=True)
def _uncompiled() -> Iterator[None]:
    mx.disable_compile()
    yield
    mx.enable_compile()


def drawn_pairs(count: int, longest: int) -> DrawnPairs:
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 64, length) for length in rng.integers(1, longest, 3 * count)]
    return DrawnPairs(texts[:count], texts[count:], np.arange(2 * count), np.arange(count))


def model_in_use(**sizes: int) -> LanguageMixer:
    model = tiny_model(pooling="token_weighted", **sizes)
    model.pooling.layer_gate = mx.array([1.0] + [0.5] * model.config.num_layers)
    return model


def chunked(model: LanguageMixer, drawn: DrawnPairs, tokens_per_chunk: int) -> tuple[mx.array, Any]:
    same = SameText([Pair(f"passage {number}", (f"query {number}",)) for number in range(len(drawn.records))])
    objective = ObjectiveSettings(temperature=0.1)
    batch, _ = window_batches(lambda _: drawn, Targets(same, None), model.config.context_length, tokens_per_chunk)(0)
    return window_gradients(model, objective, 1)(model, *batch)


def test_gradients_in_chunks_are_those_of_the_whole_batch() -> None:
    model, drawn = model_in_use(), drawn_pairs(12, longest=60)
    count = len(drawn.queries)

    def whole(model: LanguageMixer) -> mx.array:
        texts = [*drawn.queries, *drawn.passages]
        arrays = [mx.array(array) for array in windows_of(texts, model.config.context_length)]
        embeddings = text_embeddings(model, *arrays, len(texts))
        scores = embeddings[:count] @ embeddings[count:].T / 0.1
        right, among = mx.diag(scores), scores[:, :count]
        return (mx.logsumexp(scores, 1).mean() + mx.logsumexp(among, 0).mean()) / 2 - right.mean()

    value, expected = nn.value_and_grad(model, whole)(model)
    for tokens_per_chunk in (64, 200, 1 << 20):
        got, gradients = chunked(model, drawn, tokens_per_chunk)
        assert got.item() == pytest.approx(value.item(), rel=1e-5)
        for (name, array), (same_name, right) in zip(tree_flatten(gradients), tree_flatten(expected), strict=True):
            assert name == same_name
            np.testing.assert_allclose(np.array(array), np.array(right), rtol=1e-3, atol=2e-6, err_msg=name)


def test_only_a_chunk_of_activations_is_in_memory() -> None:
    model = model_in_use(context_length=64, hidden_size=64)
    drawn = drawn_pairs(64, longest=64)

    def peak(run: Callable[[], object]) -> int:
        gc.collect()
        mx.clear_cache()
        before = mx.get_active_memory()
        mx.reset_peak_memory()
        run()
        return mx.get_peak_memory() - before

    whole = peak(lambda: chunked(model, drawn, 1 << 20))
    assert peak(lambda: chunked(model, drawn, 1024)) < whole / 3
