"""The re-ranker against its equations in float64."""

import math

import mlx.core as mx
import numpy as np
import numpy.typing as npt
import pytest

from mlx_mixer.errors import ConfigError
from mlx_mixer.models.kinds import make_model
from mlx_mixer.models.retrieval import RetrievalMixer, match_loss
from tests.tiny_kinds import INTERACTIONS, model_of, retrieval_config

ROWS = mx.random.normal((3, 24, 16), key=mx.random.key(3))
Float64 = npt.NDArray[np.float64]


SCORES = mx.random.uniform(shape=(3, 23), key=mx.random.key(4))


def re_ranker(**changes: object) -> RetrievalMixer:
    model: RetrievalMixer = model_of(retrieval_config(**changes))
    return model


def value(array: mx.array) -> Float64:
    return np.array(array, np.float64)


def norm(layer: object, x: Float64) -> Float64:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    return np.asarray(scaled * value(layer.weight) + value(layer.bias))  # type: ignore[attr-defined]


def blocks(model: RetrievalMixer, x: Float64) -> Float64:
    for layer in model.layers:
        weight, bias = value(layer.token_mixing.weight), value(layer.token_mixing.bias)
        x = x + weight @ norm(layer.token_norm, x) + bias[:, None]
        up, down = layer.channel_mixing.up, layer.channel_mixing.down
        inner = norm(layer.channel_norm, x) @ value(up.weight).T + value(up.bias)
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / np.sqrt(2)))
        x = x + inner @ value(down.weight).T + value(down.bias)
    return np.asarray((x @ value(model.score.weight).T + value(model.score.bias))[:, 1:, 0])


def test_scores_follow_the_equations_without_any_mask() -> None:
    model = re_ranker()
    scores = blocks(model, value(ROWS))
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


def unit_rows() -> Float64:
    rows = value(ROWS)
    return np.asarray(rows / np.linalg.norm(rows, axis=2, keepdims=True))


@pytest.mark.parametrize("takes_scores", [False, True])
def test_scores_over_interactions_are_the_prior_and_what_the_blocks_add(*, takes_scores: bool) -> None:
    model = re_ranker(**INTERACTIONS, takes_scores=takes_scores)
    rows, given = unit_rows(), [SCORES] if takes_scores else []
    query, candidates = rows[:, :1], rows[:, 1:]
    cosines = (query * candidates).sum(axis=2)
    known = [cosines, *map(value, given)]
    rows_seen = np.concatenate([16 * query * candidates, *(4 * x[..., None] for x in known)], axis=2)
    linear = model.interactions.linear
    x = np.pad(rows_seen @ value(linear.weight).T + value(linear.bias), [(0, 0), (1, 0), (0, 0)])
    prior = np.exp(value(model.interactions.log_scale)) * known[-1]
    if takes_scores:
        prior = prior + value(model.interactions.cosine_scale) * cosines
    found = model(mx.array(rows.astype(np.float32)), *given)
    np.testing.assert_allclose(np.array(found), prior + blocks(model, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("takes_scores", [False, True])
def test_an_untrained_model_over_interactions_orders_as_what_it_starts_from(*, takes_scores: bool) -> None:
    model = make_model(retrieval_config(**INTERACTIONS, takes_scores=takes_scores))
    assert isinstance(model, RetrievalMixer)
    rows, given = unit_rows(), [SCORES] if takes_scores else []
    starts = value(SCORES) if takes_scores else (rows[:, :1] * rows[:, 1:]).sum(axis=2)
    found = np.array(model(mx.array(rows.astype(np.float32)), *given))
    np.testing.assert_array_equal(found.argsort(axis=1), starts.argsort(axis=1))


def test_scores_are_taken_by_models_that_ask_for_them_alone() -> None:
    with pytest.raises(ValueError, match="this model takes no scores for each candidate"):
        re_ranker(**INTERACTIONS)(ROWS, SCORES)
    with pytest.raises(ValueError, match="this model takes one score for each candidate"):
        re_ranker(**INTERACTIONS, takes_scores=True)(ROWS)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rows": "products"}, "rows is 'products'; it must be one of embeddings, interactions"),
        ({"rows": "interactions"}, "mixing_size is given with rows 'interactions'"),
        ({"mixing_size": 8}, "mixing_size is given with rows 'interactions'"),
        ({"takes_scores": True}, "only rows of 'interactions' start from a score"),
        ({**INTERACTIONS, "mixing_size": 0}, "mixing_size is 0"),
    ],
)
def test_forms_that_do_not_exist_are_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        retrieval_config(**changes)
