"""The chunked head loss against float64 loops and finite differences."""

import mlx.core as mx
import numpy as np
import numpy.typing as npt
import pytest

from mlx_mixer.models.language import next_token_loss
from mlx_mixer.training import cross_entropy
from mlx_mixer.training.cross_entropy import head_cross_entropy
from mlx_mixer.training.language import language_loss
from tests.tiny import tiny_model

Floats = npt.NDArray[np.float64]


def reference(hidden: Floats, head: Floats, targets: npt.NDArray[np.int64]) -> float:
    losses = []
    for state, target in zip(hidden, targets, strict=True):
        if target != -100:
            logits = head @ state
            losses.append(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[target])
    return float(np.mean(losses)) if losses else 0.0


def example(rows: int) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    rng = np.random.default_rng(rows)
    targets = rng.integers(0, 11, rows)
    targets[::4] = -100
    return rng.standard_normal((rows, 5)), rng.standard_normal((11, 5)) * 2, targets


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 30])
def test_the_loss_is_the_mean_over_counted_rows(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_entropy, "CHUNK_ROWS", 8)
    hidden, head, targets = example(rows)
    got = head_cross_entropy(mx.array(hidden, mx.float32), mx.array(head, mx.float32), mx.array(targets))
    assert got.item() == pytest.approx(reference(hidden, head, targets), rel=1e-4, abs=1e-6)


def test_gradients_are_the_slopes_of_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_entropy, "CHUNK_ROWS", 4)
    hidden, head, targets = example(10)
    by_hidden, by_head = mx.grad(head_cross_entropy, argnums=(0, 1))(
        mx.array(hidden, mx.float32), mx.array(head, mx.float32), mx.array(targets)
    )
    for array, gradient in ((hidden, by_hidden), (head, by_head)):
        for index in np.ndindex(*array.shape):
            kept, step = array[index], 1e-5
            array[index] = kept + step
            above = reference(hidden, head, targets)
            array[index] = kept - step
            below = reference(hidden, head, targets)
            array[index] = kept
            assert gradient[index].item() == pytest.approx((above - below) / (2 * step), abs=2e-5)


@pytest.mark.parametrize("tied", [False, True])
def test_it_equals_the_plain_next_token_loss(tied: bool) -> None:
    model = tiny_model(tie_word_embeddings=tied)
    rng = np.random.default_rng(0)
    ids = mx.array(rng.integers(0, 64, (3, 20)))
    labels = mx.where(mx.array(rng.random((3, 20)) < 0.3), -100, ids)
    assert language_loss(model, ids, labels).item() == pytest.approx(
        next_token_loss(model, ids, labels).item(), rel=1e-4
    )


def test_no_counted_row_is_no_loss() -> None:
    assert head_cross_entropy(mx.ones((3, 2)), mx.ones((4, 2)), mx.full((3,), -100)).item() == 0
