"""The re-ranker against its equations in float64."""

import math

import mlx.core as mx
import numpy as np
import numpy.typing as npt
import pytest

from mlx_mixer.models.retrieval import RetrievalMixer, match_loss
from tests.tiny_kinds import model_of, retrieval_config

ROWS = mx.random.normal((3, 24, 16), key=mx.random.key(3))
Float64 = npt.NDArray[np.float64]


def re_ranker() -> RetrievalMixer:
    model: RetrievalMixer = model_of(retrieval_config())
    return model


def value(array: mx.array) -> Float64:
    return np.array(array, np.float64)


def norm(layer: object, x: Float64) -> Float64:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    return np.asarray(scaled * value(layer.weight) + value(layer.bias))  # type: ignore[attr-defined]


def test_scores_follow_the_equations_without_any_mask() -> None:
    model = re_ranker()
    x = value(ROWS)
    for layer in model.layers:
        weight, bias = value(layer.token_mixing.weight), value(layer.token_mixing.bias)
        x = x + weight @ norm(layer.token_norm, x) + bias[:, None]
        up, down = layer.channel_mixing.up, layer.channel_mixing.down
        inner = norm(layer.channel_norm, x) @ value(up.weight).T + value(up.bias)
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / np.sqrt(2)))
        x = x + inner @ value(down.weight).T + value(down.bias)
    scores = (x @ value(model.score.weight).T + value(model.score.bias))[:, 1:, 0]
    assert np.array(model(ROWS)).shape == (3, 23)
    np.testing.assert_allclose(np.array(model(ROWS)), scores, rtol=1e-4, atol=1e-4)


def test_every_row_sees_every_other() -> None:
    model = re_ranker()
    changed = np.array(ROWS)
    changed[:, -1, 0] += 1
    assert (np.abs(np.array(model(mx.array(changed))) - np.array(model(ROWS))) > 1e-6).all()


def test_fewer_candidates_leave_out_the_rows_that_are_not_there() -> None:
    model, small = re_ranker(), re_ranker()
    for layer in small.layers:
        mixing = layer.token_mixing
        mixing.weight, mixing.bias = mixing.weight[:7, :7], mixing.bias[:7]
    np.testing.assert_allclose(np.array(model(ROWS[:, :7])), np.array(small(ROWS[:, :7])), rtol=1e-6)


@pytest.mark.parametrize("rows", [1, 25])
def test_no_candidates_or_too_many_are_refused(rows: int) -> None:
    with pytest.raises(ValueError, match=f"{rows} rows; this model scores 1 to 23 candidates"):
        re_ranker()(mx.zeros((1, rows, 16)))


def test_the_loss_counts_matches_without_the_query_row() -> None:
    model = re_ranker()
    scores = value(model(ROWS))
    matches = [4, 0, 22]
    losses = [np.log(np.exp(row).sum()) - row[match] for row, match in zip(scores, matches, strict=True)]
    assert match_loss(model, ROWS, mx.array(matches)).item() == pytest.approx(np.mean(losses), rel=1e-5)
