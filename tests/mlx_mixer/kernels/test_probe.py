"""A Metal form is used only if it is right at every size tried and faster at the one that counts."""

import mlx.core as mx
import pytest

from mlx_mixer.kernels.probe import probe
from tests.mlx_mixer.kernels.twins import SHAPE, double, make_twins, slowly


def test_a_form_that_agrees_and_is_faster_is_chosen() -> None:
    verdict = probe(make_twins(double, slowly(double)), SHAPE, mx.float32)
    assert verdict.metal
    assert verdict.max_error == 0
    assert verdict.speed_ratio is not None
    assert verdict.speed_ratio > 1


def test_a_slower_form_is_not_chosen() -> None:
    verdict = probe(make_twins(slowly(double)), SHAPE, mx.float32)
    assert not verdict.metal
    assert verdict.speed_ratio is not None
    assert verdict.speed_ratio < 1


@pytest.mark.parametrize("wrong", [0.001, float("nan"), float("inf")])
def test_a_wrong_form_is_not_even_timed(wrong: float) -> None:
    verdict = probe(make_twins(lambda x: (x + x + wrong,), slowly(double)), SHAPE, mx.float32)
    assert not verdict.metal
    assert "disagrees" in verdict.reason
    assert verdict.speed_ratio is None


def test_a_form_that_is_wrong_at_ragged_sizes_only_is_caught() -> None:
    """The usual bug of a kernel: the last tile."""

    def ragged(x: mx.array) -> tuple[mx.array, ...]:
        return (x + x,) if x.size % 8 == 0 else (x,)

    assert "disagrees" in probe(make_twins(ragged, slowly(double)), SHAPE, mx.float32).reason


def test_not_a_number_at_one_of_the_sizes_is_caught() -> None:
    """Comparisons with NaN are false, so a maximum in Python forgets it."""

    def poisoned(x: mx.array) -> tuple[mx.array, ...]:
        return (x + x,) if x.size < SHAPE["size"] else (x * float("nan"),)

    assert "disagrees" in probe(make_twins(poisoned, slowly(double)), SHAPE, mx.float32).reason


@pytest.mark.parametrize("other", [lambda x: (x[:-1],), lambda x: ((x + x).astype(mx.float16),)])
def test_another_shape_or_dtype_is_a_disagreement(other: object) -> None:
    assert "disagrees" in probe(make_twins(other, slowly(double)), SHAPE, mx.float32).reason  # type: ignore[arg-type]


def test_half_precision_is_granted_its_rounding() -> None:
    verdict = probe(make_twins(lambda x: (x * 2.001,), slowly(double)), SHAPE, mx.float16)
    assert verdict.metal
