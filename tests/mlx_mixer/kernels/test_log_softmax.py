"""Log-probabilities against float64."""

import mlx.core as mx
import numpy as np
import pytest

from mlx_mixer.kernels.log_softmax import log_softmax


@pytest.mark.parametrize("shape", [(1, 5), (3, 8192), (2, 4, 300)])
@pytest.mark.parametrize("scale", [0.1, 3.0, 40.0])
def test_log_probabilities_follow_their_equation(shape: tuple[int, ...], scale: float) -> None:
    logits = scale * mx.random.normal(shape, key=mx.random.key(1))
    exact = np.array(logits, np.float64)
    exact = (
        exact
        - np.log(np.exp(exact - exact.max(-1, keepdims=True)).sum(-1, keepdims=True))
        - exact.max(-1, keepdims=True)
    )
    got = np.array(log_softmax(logits))
    np.testing.assert_allclose(got, exact, atol=3e-4, rtol=1e-6)
    # What is sampled depends on differences within a row, which are exact.
    np.testing.assert_allclose(got - got[..., :1], exact - exact[..., :1], atol=2e-5, rtol=1e-6)


def test_half_precision_is_left_to_mlx() -> None:
    logits = mx.random.normal((2, 50)).astype(mx.float16)
    assert log_softmax(logits).dtype == mx.float16


def test_a_token_that_is_out_of_the_question_stays_so() -> None:
    got = log_softmax(mx.array([[0.0, -mx.inf, -1e9]]))
    assert got[0, 0].item() == pytest.approx(0, abs=3e-4)
    assert got[0, 1].item() == -np.inf
