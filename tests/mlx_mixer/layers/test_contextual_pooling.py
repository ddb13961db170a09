"""Sums of vectors that went through blocks of their own, against loops in double precision."""

import math
from collections import Counter
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt
import pytest

from mlx_mixer.layers.pooling import ContextualPooling, StaticPooling
from mlx_mixer.training.start import start_as_identity
from tests.tiny import tiny_config, tiny_model

SIZES: dict[str, Any] = {
    "pooling": "contextual",
    "embedding_size": 12,
    "embedding_layers": 2,
    "embedding_intermediate_size": 20,
    "embedding_heads": 3,
}
Doubles = npt.NDArray[np.float64]


def pooling_of(**changes: Any) -> ContextualPooling:
    pooling = tiny_model(**{**SIZES, **changes}).pooling
    assert isinstance(pooling, ContextualPooling)
    return pooling


def double(array: mx.array) -> Doubles:
    return np.array(array, np.float64)


def normed(norm: Any, x: Doubles) -> Doubles:
    centred = x - x.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    return scaled * double(norm.weight) + double(norm.bias)


def mapped(linear: Any, x: Doubles) -> Doubles:
    return x @ double(linear.weight).T + double(linear.bias)


def through_block(block: Any, x: Doubles) -> Doubles:
    mixing = block.token_mixing
    rows = mapped(mixing.in_proj, normed(block.token_norm, x))
    heads, length = mixing.weight.shape[0], len(x)
    width = x.shape[1] // heads
    mixed = np.zeros_like(x)
    for head in range(heads):
        features = slice(head * width, (head + 1) * width)
        for here in range(length):
            mixed[here, features] = double(mixing.bias)[head, here]
            for before in range(here + 1):
                mixed[here, features] += double(mixing.weight)[head, 0, here, before] * rows[before, features]
    x = x + mapped(mixing.out_proj, mixed)
    inner = mapped(block.channel_mixing.up, normed(block.channel_norm, x))
    gelu = inner * np.vectorize(lambda value: 0.5 * (1 + math.erf(value / math.sqrt(2))))(inner)
    return x + mapped(block.channel_mixing.down, gelu)


def parts_of(pooling: ContextualPooling, ids: list[int]) -> list[Doubles]:
    """What each position adds to the sum."""
    x = double(pooling.table.weight)[ids]
    for block in pooling.layers:
        x = through_block(block, x)
    times = Counter(ids)
    weight = double(pooling.token_weight)
    return [
        math.log1p(math.exp(weight[number])) / math.sqrt(times[number]) * row
        for number, row in zip(ids, x, strict=True)
    ]


TEXTS = [[5, 9, 5, 33, 60, 5, 9], [1], list(range(24)), [7] * 24, [0, 3, 0]]


@pytest.mark.parametrize("ids", TEXTS)
def test_the_sum_and_its_parts_follow_their_equation(ids: list[int]) -> None:
    pooling = pooling_of()
    expected = parts_of(pooling, ids)
    np.testing.assert_allclose(np.array(pooling.parts(mx.array([ids])))[0], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(np.array(pooling(mx.array([ids])))[0], sum(expected), rtol=1e-4, atol=1e-4)


def test_padding_does_not_matter_even_where_its_state_is_no_number() -> None:
    pooling = pooling_of()
    ids, lengths = np.zeros((len(TEXTS), 24), np.int32), np.array([len(text) for text in TEXTS])
    for row, text in zip(ids, TEXTS, strict=True):
        row[: len(text)] = text
    is_real = mx.arange(24)[None] < mx.array(lengths)[:, None]
    alone = np.concatenate([np.array(pooling(mx.array([text]))) for text in TEXTS])
    np.testing.assert_allclose(np.array(pooling(mx.array(ids), is_real)), alone, rtol=1e-5, atol=1e-5)
    noise = mx.array(np.where(np.array(is_real), ids, 63))
    np.testing.assert_allclose(np.array(pooling(noise, is_real)), alone, rtol=1e-5, atol=1e-5)
    # Positions that none of the short texts reaches.
    short = [0, 1, 4]
    pooling.layers[-1].token_mixing.bias[:, 7:] = mx.nan
    got = pooling(noise[mx.array(short)], is_real[mx.array(short)])
    np.testing.assert_allclose(np.array(got), alone[short], rtol=1e-5, atol=1e-5)


def test_blocks_that_add_nothing_leave_the_sum_of_static_pooling() -> None:
    pooling, static = pooling_of(), StaticPooling(64, 12)
    static.table.weight, static.token_weight = pooling.table.weight, pooling.token_weight
    ids = mx.array([TEXTS[2], TEXTS[3]])
    is_real = mx.arange(24)[None] < mx.array([[24], [17]])
    assert not np.allclose(np.array(pooling(ids, is_real)), np.array(static(ids, is_real)), atol=1e-2)
    start_as_identity(pooling.layers)
    assert mx.array_equal(pooling(ids, is_real), static(ids, is_real))
    assert mx.array_equal(pooling.parts(ids), static.parts(ids))


def test_vectors_are_of_words_where_the_config_has_some() -> None:
    assert pooling_of(word_vocab_size=9).table.weight.shape == (9, 12)
    assert pooling_of(word_vocab_size=9).token_weight.shape == (9,)
    with pytest.raises(ValueError, match="pooling is 'mean'"):
        ContextualPooling(tiny_config(pooling="mean"))
